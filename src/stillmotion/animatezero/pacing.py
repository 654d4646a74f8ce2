"""Even pace: of more frames than are wanted, those between which about the same amount changes.

Between two given ends a clip hurries here and lingers there (the authors' interpolations nearly
stand still at frames 4/5, 8/9 and 12/13).  Attention offers no handle on the pace, but frames are
cheap: made twice as densely, they leave a choice.  Nothing is blended, and their order stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DENSITY = 2
"""How many times more steps are made than are wanted."""
_MAX_LIMITS = 256
_MAX_SIDE = 128


def dense_count(num_frames: int) -> int:
    """Frames to make so that `num_frames` can be chosen, the ends among them."""
    return DENSITY * (num_frames - 1) + 1


def even_frames(frames: NDArray[np.uint8], count: int) -> list[int]:
    """Numbers of `count` of the frames (f h w 3), rising, the first and the last among them.

    Of all such choices the one whose largest step, over the mean step, is smallest; a step is the
    mean absolute difference of neighbours.  2 <= `count` <= f.
    """
    steps = _distances(_reduced(frames))
    limits = np.unique(steps[np.triu_indices_from(steps, 1)])
    if len(limits) > _MAX_LIMITS:
        limits = limits[np.linspace(0, len(limits) - 1, _MAX_LIMITS).round().astype(int)]
    best, chosen = np.inf, [*range(count - 1), len(frames) - 1]
    for limit in limits:
        indices = _longest_path(steps, limit, count)
        if indices is None:
            continue
        taken = steps[indices[:-1], indices[1:]]
        uneven = taken.max() / max(taken.mean(), 1e-9)
        if uneven < best:
            best, chosen = uneven, indices
    return chosen


def _longest_path(steps: NDArray[np.float32], limit: float, count: int) -> list[int] | None:
    """The path from the first frame to the last in `count` - 1 steps with the largest sum.

    No step is above `limit`; None if there is no such path.  By dynamic programming: with the
    largest step bounded, the largest sum is the largest mean.
    """
    num_frames = len(steps)
    usable = np.triu(steps <= limit, 1)
    gain = np.where(usable, steps, -np.inf)
    total = np.full(num_frames, -np.inf)
    total[0] = 0.0
    before = []
    for _ in range(count - 1):
        reached = total[:, None] + gain
        before.append(reached.argmax(axis=0))
        total = reached.max(axis=0)
    if not np.isfinite(total[-1]):
        return None
    path = [num_frames - 1]
    for step in reversed(before):
        path.append(int(step[path[-1]]))
    return path[::-1]


def _distances(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute difference of every pair (f f)."""
    flat = frames.reshape(len(frames), -1)
    return np.stack([np.abs(flat - frame).mean(axis=1) for frame in flat])


def _reduced(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Large frames averaged over squares, which changes little of how much two frames differ."""
    factor = max(1, max(frames.shape[1:3]) // _MAX_SIDE)
    height, width = (side // factor * factor for side in frames.shape[1:3])
    pixels = frames[:, :height, :width].astype(np.float32)
    blocks = pixels.reshape(len(frames), height // factor, factor, width // factor, factor, 3)
    averaged: NDArray[np.float32] = blocks.mean(axis=(2, 4))
    return averaged
