"""How a clip moves from frame to frame.

The step from frame k to k+1 is the mean absolute difference of their pixels, 0 to 255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def step_sizes(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sizes of the f - 1 steps of a clip (f h w 3), 0 to 255."""
    pixels = frames.astype(np.float64)
    return np.abs(np.diff(pixels, axis=0)).mean(axis=(1, 2, 3))  # type: ignore[no-any-return]


def first_step_ratio(steps: NDArray[np.float64]) -> float:
    """Step 1 -> 2 over the mean of the later ones: 1 is even, above 1 the clip jumps at frame 2."""
    return _ratio(float(steps[0]), float(steps[1:].mean()))


def late_drift(steps: NDArray[np.float64]) -> float:
    """Mean of the last third of the steps over that of the first third, step 1 -> 2 left out.

    1 is even; above 1 the late frames run away, below 1 the motion dies.
    """
    later = steps[1:]
    third = max(len(later) // 3, 1)
    return _ratio(float(later[-third:].mean()), float(later[:third].mean()))


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else float("nan")
