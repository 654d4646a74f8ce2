"""Overlapping windows over the frames of a clip that is longer than a network has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def window_starts(num_frames: int, length: int) -> Iterator[int]:
    """First frames of windows a quarter of their length apart, the last one ending the clip."""
    last = num_frames - length
    yield from range(0, last, max(1, length // 4))
    yield last


def window_weights(length: int, like: Tensor) -> Tensor:
    """How much the frames of a window count, (l): falling off linearly to its borders."""
    slots = torch.arange(1, length + 1, device=like.device)
    return torch.minimum(slots, slots.flip(0)).to(like.dtype)


def blended(num_frames: int, length: int, axis: int, seen: Callable[[slice], Tensor]) -> Tensor:
    """The weighted mean of what all windows have to say of each frame, so that no border shows.

    `seen` is given the frames of a window and returns a tensor with as many along `axis`, which
    counts from the end (-1 is the last) -> the same with `num_frames`.  A clip of at most one
    window is what that window says.
    """
    if num_frames <= length:
        return seen(slice(0, num_frames))
    total: Tensor | None = None
    for start in window_starts(num_frames, length):
        frames = slice(start, start + length)
        part = seen(frames)
        if total is None:
            shape = list(part.shape)
            shape[axis] = num_frames
            total, weights = part.new_zeros(shape), part.new_zeros(num_frames)
            weight = window_weights(length, part)
            each = weight.view(-1, *[1] * (-axis - 1))
        total.narrow(axis, start, length).add_(each * part)
        weights[frames] += weight
    assert total is not None
    return total / weights.view(-1, *[1] * (-axis - 1))
