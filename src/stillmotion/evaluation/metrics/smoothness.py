"""Motion smoothness: does what moves keep its velocity from one step to the next?"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from stillmotion.evaluation.metrics.flow_fields import ClipFlow, warp

RESTING = 1e-3
"""Mean flow in pixels below which an estimator found nothing but its own rounding."""


def motion_smoothness(flow: ClipFlow) -> float:
    """1 - sum |w'_k - w_k| / sum (|w'_k| + |w_k|), over visible pixels and pairs of steps.

    w_k(i) is the flow of step k at pixel i, and w'_k(i) = w_{k+1}(i + w_k(i)) the flow of the next
    step where the pixel has gone: the same piece of matter, so a thing that glides over a resting
    ground is perfectly smooth.  By the triangle inequality from 0 to 1, higher is better: 1 for an
    unchanged velocity, 0 for a clip that moves and stops by turns, or whose every step turns back.
    A turn is a change: spinning and swinging lie between.

    Why this one: the cosine of consecutive flows does not see a change of speed; a mean of ratios
    over pixels or steps is ruled by resting pixels and steps, where both flows are noise.  One
    ratio of sums weighs each pixel by how far it goes, so what rests adds nothing.  VBench's
    motion smoothness asks another question of a network (AMT) and needs its weights.

    Args:
        flow: of a clip.  Pixels that are occluded in either step, or leave
            the picture, do not count.

    Returns:
        The smoothness; NaN if the clip rests (`ClipFlow.rests`, or a mean flow below 0.001 pixels),
        nothing that moves stays visible, or there is a single step.
    """
    forward = flow.forward.double()
    if flow.rests or float(forward.norm(dim=-1).mean()) < RESTING:
        return math.nan
    changed, moved = 0.0, 0.0
    for (here, after), hidden in zip(
        pairwise(forward), pairwise(flow.occluded.bool()), strict=True
    ):
        following, seen = _followed(here, after, *hidden)
        changed += float((following - here).norm(dim=-1)[seen].sum())
        moved += float((following.norm(dim=-1) + here.norm(dim=-1))[seen].sum())
    return 1 - changed / moved if moved > 0 else math.nan


def _followed(
    here: Tensor, after: Tensor, hidden: Tensor, hidden_after: Tensor
) -> tuple[Tensor, Tensor]:
    """Flow of the next step where each pixel has gone (h w 2), and where to trust it (h w)."""
    known = warp(torch.cat((after, hidden_after[..., None].to(after)), -1), here)
    height, width = hidden.shape
    x = here[..., 0] + torch.arange(width)
    y = here[..., 1] + torch.arange(height)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    # A target of which any neighbour is hidden mixes the flows of two things.
    return known[..., :2], inside & ~hidden & (known[..., 2] == 0)
