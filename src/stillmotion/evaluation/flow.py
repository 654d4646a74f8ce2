"""How far things move from frame to frame: optical flow, estimated by OpenCV.

Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError

_SMALLEST = 12
"""Pixels of the shorter side, below which OpenCV's search has no level to begin on."""


def require_flow() -> None:
    """Raise InputError if OpenCV, which estimates the flow, is not installed."""
    if find_spec("cv2") is None:
        raise InputError(
            "Flow is measured with OpenCV, which is not installed; "
            "run: pip install 'stillmotion[edit]'"
        )


def flow_magnitude(frames: NDArray[np.uint8]) -> float:
    """Mean length of the flow between neighbouring frames, in pixels, over all pixels and steps.

    Args:
        frames: uint8 `(f h w 3)`, RGB, at least 2 frames of at least 12 x 12 pixels.

    Raises:
        InputError: OpenCV is not installed, or there are fewer frames or pixels.
    """
    require_flow()
    if len(frames) < 2 or min(frames.shape[1:3]) < _SMALLEST:
        raise InputError(
            f"The clip has the shape {frames.shape}; flow needs at least 2 frames of at least "
            f"{_SMALLEST} x {_SMALLEST} pixels."
        )
    import cv2

    # Without annotations that know of a flow that is not given.
    search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in frames]
    fields = np.stack([search.calc(here, after, None) for here, after in pairwise(grey)])
    return float(np.linalg.norm(fields.astype(np.float64), axis=-1).mean())
