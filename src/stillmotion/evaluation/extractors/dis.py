"""Optical flow without weights: OpenCV's dense inverse search (DIS), at its medium setting.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.pixels import check_frames

SMALLEST = 12
"""Pixels of the shorter side, below which the search has no level to begin on."""


def require_opencv() -> None:
    """Raise InputError if OpenCV, which estimates the flow, is not installed."""
    if find_spec("cv2") is None:
        raise InputError(
            "Flow is measured with OpenCV, which is not installed; "
            "run: pip install 'stillmotion[edit]'"
        )


class DisFlow:
    """A `FlowEstimator`; the same numbers for any number of threads.

    Raises:
        InputError: OpenCV is not installed.
    """

    name = "DIS"

    def __init__(self) -> None:
        require_opencv()

    @property
    def identity(self) -> str:
        """There are no weights: the version is what numbers depend on."""
        import cv2

        return f"opencv {cv2.__version__} DIS medium"

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        """Displacement (h w 2), x before y, in pixels, of frames (3 h w), uint8.

        Raises:
            InputError: the frames differ in size or are smaller than 12 x 12 pixels.
        """
        check_pair(first, second, SMALLEST)
        import cv2

        # Without annotations that know of a flow that is not given.  Made anew each time: it would
        # keep buffers of the size of the last frames.
        search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = [
            cv2.cvtColor(np.ascontiguousarray(f.permute(1, 2, 0).cpu().numpy()), cv2.COLOR_RGB2GRAY)
            for f in (first, second)
        ]
        return torch.from_numpy(search.calc(*grey, None))


def check_pair(first: Tensor, second: Tensor, smallest: int) -> None:
    """Raise InputError unless two frames (3 h w) are of one size, and that not too small."""
    check_frames(first, "3 h w")
    check_frames(second, "3 h w")
    if first.shape != second.shape or min(first.shape[1:]) < smallest:
        raise InputError(
            f"flow was asked for between frames of {_size(first)} and {_size(second)} pixels; it "
            f"needs two of one size, at least {smallest} x {smallest}"
        )


def _size(frame: Tensor) -> str:
    return f"{frame.shape[2]} x {frame.shape[1]}"
