"""Flicker: how much the pixels change from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.steps import step_sizes


def flicker(frames: NDArray[np.uint8]) -> float:
    """Mean over the steps of the mean absolute difference of neighbouring frames, 0 to 255.

    It cannot tell flicker from motion: lower is better only where nothing should move.  VBench's
    temporal flickering is (255 - flicker) / 255, over clips of still scenes.

    Args:
        frames: uint8 (f h w 3), at least 2.

    Raises:
        InputError: fewer than 2 frames.
    """
    if len(frames) < 2:
        raise InputError(f"flicker is a change between frames; give 2 or more, not {len(frames)}")
    return float(step_sizes(frames).mean())
