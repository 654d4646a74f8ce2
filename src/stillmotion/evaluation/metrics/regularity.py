"""How evenly a clip moves, beyond its first step: ratios of the step sizes of `steps.py`.

Each ratio is 1 for an even clip and NaN for one that rests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillmotion.diffusion.windows import window_starts
from stillmotion.evaluation.metrics.steps import step_sizes


def largest_step_ratio(steps: NDArray[np.float64]) -> float:
    """The largest step over the mean step."""
    return _over_mean(float(steps.max()), steps)


def last_step_ratio(steps: NDArray[np.float64]) -> float:
    """The last step, to a frame that is given, over the mean of those before it."""
    return _over_mean(float(steps[-1]), steps[:-1])


def return_ratio(frames: NDArray[np.uint8]) -> float:
    """For a loop (f h w 3): the step from the last frame back to the first over the mean step."""
    back = step_sizes(frames[[-1, 0]])
    return _over_mean(float(back[0]), step_sizes(frames))


def seam_ratio(steps: NDArray[np.float64], window: int) -> float:
    """Mean step where a window of attention begins or ends over the mean of the other steps.

    `steps` (f - 1) of a clip longer than `window` frames; step 1 -> 2, which has reasons of its
    own to be large, is left out.
    """
    num_frames = len(steps) + 1
    starts = set(window_starts(num_frames, window))
    borders = starts | {start + window for start in starts}
    # The step that leads to frame k, counted from 0, has the index k - 1.
    at_border = np.array([index + 1 in borders for index in range(len(steps))])
    at_border[0], others = False, ~at_border
    others[0] = False
    return _over_mean(float(steps[at_border].mean()), steps[others])


def _over_mean(value: float, others: NDArray[np.float64]) -> float:
    mean = float(others.mean()) if len(others) else 0.0
    return value / mean if mean > 0 else float("nan")
