"""Maps of tokens under which several windows over a clip's frames are one attention.

`temporal_attention` adds up several views of every frame, each with its own map, its own position
of the query and its own weight.  Overlapping windows and a clip with both ends given are such sums.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stillmotion.diffusion.windows import window_starts, window_weights


class Views(NamedTuple):
    """Several views of each frame: v views, f frames, l slots."""

    src: Tensor
    """(v f l) int64, which frame's token is in a slot"""
    query_slot: Tensor
    """(v f) int64, the slot whose position the query has"""
    weights: Tensor
    """(v f) float64, adding up to 1 over the views of a frame"""


def overlapping_views(num_frames: int, length: int) -> Views:
    """The windows of `stillmotion.diffusion.windows.blended`, blended by its weights.

    The windows of one view do not overlap, so each frame is in at most one of them; a frame in
    none of a view's windows repeats the nearest one with weight 0.  A clip of at most one window
    has one view: global attention.  On the host, where `temporal_attention` may read it.
    """
    length = min(length, num_frames)
    views: list[list[int]] = []
    for start in window_starts(num_frames, length):
        free = (view for view in views if view[-1] + length <= start)
        view = next(free, None)
        if view is None:
            views.append([start])
        else:
            view.append(start)
    starts = torch.tensor([_start_of_each(view, num_frames, length) for view in views])
    query_slot = torch.arange(num_frames) - starts
    is_inside = (query_slot >= 0) & (query_slot < length)
    query_slot = query_slot.clamp(0, length - 1)
    each = window_weights(length, torch.empty((), dtype=torch.float64))
    weights = each[query_slot] * is_inside
    src = starts.unsqueeze(-1) + torch.arange(length)
    return Views(src, query_slot, weights / weights.sum(dim=0))


def _start_of_each(starts: list[int], num_frames: int, length: int) -> list[int]:
    """The first frame of each frame's window: the last to start at or before it, or the first."""
    return [
        max([s for s in starts if s <= frame], default=starts[0]) for frame in range(num_frames)
    ]
