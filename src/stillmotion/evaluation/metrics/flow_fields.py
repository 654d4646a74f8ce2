"""The flow of a clip, what it hides, and pictures moved along it: what the metrics of motion share.

Code read: phoenix104104/fast_blind_video_consistency (Lai et al., arXiv:1808.00449) at bce0c7e,
utils.py, compute_flow_occlusion.py, resample2d; occlusion after Ruder et al., GCPR 2016
(arXiv:1604.08610).

Shapes: f frames; flows (... h w 2) are x before y, in pixels, on the grid of the earlier frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.interface import FlowEstimator

BLOCK, VISIBLE = 4, 4.0
"""A clip moves if the mean colour of a block of 4 x 4 pixels ever changes by 4 of 255."""


@dataclass(frozen=True)
class ClipFlow:
    """The flow of a clip, found once for every metric that needs it."""

    forward: Tensor
    """(f-1 h w 2): from frame k to k+1, on the grid of frame k."""
    occluded: Tensor
    """(f-1 h w) bool: what the pixel of frame k shows is not to be seen in frame k+1."""
    rests: bool = False
    """Nothing moves that could be seen, so the flow is the estimator's reading of noise."""


def clip_flow(frames: Tensor, estimator: FlowEstimator) -> ClipFlow:
    """Estimate the flow of a clip both ways, and from it the occlusion.

    Args:
        frames: uint8 (f 3 h w), at least 2.
        estimator: DIS, RAFT, or another.

    Raises:
        InputError: fewer than 2 frames, or what the estimator refuses.
    """
    if frames.ndim != 4 or len(frames) < 2:
        raise InputError(
            f"a clip of shape {tuple(frames.shape)} has no flow; give at least 2 frames (f 3 h w)"
        )
    forward, occluded = [], []
    for here, after in pairwise(frames):
        ahead, back = estimator.flow(here, after), estimator.flow(after, here)
        forward.append(ahead)
        occluded.append(occlusion(ahead, back))
    return ClipFlow(torch.stack(forward), torch.stack(occluded), rests=rests(frames))


def rests(frames: Tensor) -> bool:
    """Whether a clip (f 3 h w), uint8, shows frame 1 throughout, but for noise.

    An estimator matches noise where there is nothing else: of a still picture with noise of half a
    level, DIS reports 0.8 pixels per step in flat regions.  Means of blocks of 4 x 4 pixels silence
    noise of up to about 4 levels, and comparing with frame 1 lets a slow motion add up.
    """
    blocks = F.avg_pool2d(frames.float(), min(BLOCK, *frames.shape[-2:]), ceil_mode=True)
    return float((blocks - blocks[:1]).abs().mean(1).max()) < VISIBLE


def warp(values: Tensor, flow: Tensor) -> Tensor:
    """Bilinear sample of `values` (h w c) at (x + u, y + v) for each pixel: (h w c).

    Coordinates beyond the picture read its border.

    Args:
        values: (h w c), floating.
        flow: (h w 2), x before y, in pixels.

    Raises:
        InputError: the shapes do not fit each other, or the flow is not finite.
    """
    if values.ndim != 3 or flow.shape != (*values.shape[:2], 2) or not flow.isfinite().all():
        raise InputError(
            f"values of shape {tuple(values.shape)} cannot be moved by a flow of shape "
            f"{tuple(flow.shape)}; give (h w c) and a finite (h w 2)"
        )
    height, width = values.shape[:2]
    flow = flow.to(values)
    x = flow[..., 0] + torch.arange(width).to(values)
    y = flow[..., 1] + torch.arange(height).to(values)[:, None]
    left, top = x.floor(), y.floor()
    across, down = (x - left)[..., None], (y - top)[..., None]
    columns = [(left + k).clamp(0, width - 1).long() for k in (0, 1)]
    rows = [(top + k).clamp(0, height - 1).long() for k in (0, 1)]
    upper, lower = (
        values[row, columns[0]] * (1 - across) + values[row, columns[1]] * across for row in rows
    )
    return upper * (1 - down) + lower * down


def occlusion(forward: Tensor, backward: Tensor) -> Tensor:
    """Pixels (h w) whose flow cannot be trusted: hidden in the other frame, or at its boundary.

    With w = `forward` and w' = `backward` warped by w, a pixel is occluded if

        |w + w'|^2 > 0.01 (|w|^2 + |w'|^2) + 0.5    (there and back does not lead home), or
        |grad u|^2 + |grad v|^2 > 0.01 |w|^2 + 0.002    (a motion boundary),

    with forward differences, 0 beyond the last row and column.  The constants are for pixels, so
    the size of the frames matters; in small pictures most of a small moving thing is boundary.

    Args:
        forward: (h w 2), on the grid of the first frame.
        backward: (h w 2), on the grid of the second.

    Raises:
        InputError: the flows differ in shape.
    """
    _check_flow(forward, backward)
    ahead = forward.double()
    back = warp(backward.double(), ahead)
    speed = ahead.square().sum(-1)
    apart = (ahead + back).square().sum(-1)
    lost = apart > 0.01 * (speed + back.square().sum(-1)) + 0.5
    change = torch.zeros_like(speed)
    change[:, :-1] += ahead.diff(dim=1).square().sum(-1)
    change[:-1] += ahead.diff(dim=0).square().sum(-1)
    return lost | (change > 0.01 * speed + 0.002)


def _check_flow(forward: Tensor, backward: Tensor) -> None:
    if forward.shape != backward.shape or forward.ndim != 3 or forward.shape[-1] != 2:
        raise InputError(
            f"flows of shapes {tuple(forward.shape)} and {tuple(backward.shape)} cannot be "
            "compared; give two of (h w 2)"
        )
