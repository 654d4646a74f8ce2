"""Exact optical flow and occlusion of a rendered clip."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stillmotion.world.motion import Pose, pose, progress
from stillmotion.world.render import (
    FIRST_SUBJECT_ID,
    draw_buffers,
    pixel_grid,
    to_canonical,
    to_screen,
)
from stillmotion.world.scene import Scene
from stillmotion.world.subjects import parts


@dataclass(frozen=True)
class Flow:
    """Forward flow on the grid of each frame but the last.

    forward: `(f-1, 2, h, w)`, (x, y) in pixels, from frame k to k+1 on the grid of frame k.
    occluded: `(f-1, h, w)` bool: what the pixel shows is hidden or outside in frame k+1.
    """

    forward: Tensor
    occluded: Tensor


def optical_flow(scene: Scene, num_frames: int = 16, size: int = 64) -> Flow:
    """The flow of what each pixel shows, from the scene's own geometry."""
    at = pose(scene, progress(scene, num_frames))
    part_id = draw_buffers(scene, at, size).part_id
    here, after = _frames(at, slice(None, -1)), _frames(at, slice(1, None))
    x, y = (c.expand(num_frames - 1, -1, -1) for c in pixel_grid(size))
    target_x, target_y = x.clone(), y.clone()
    u, v = to_canonical(x, y, here)
    for index, part in enumerate(parts(scene.subject)):
        shows = part_id[:-1] == FIRST_SUBJECT_ID + index
        material = part.deform.inverse(u, v, here.phase)
        moved = to_screen(*part.deform.forward(*material, after.phase), after)
        target_x = torch.where(shows, moved[0], target_x)
        target_y = torch.where(shows, moved[1], target_y)
    forward = torch.stack((target_x - x, target_y - y), 1) * (size / 2)
    return Flow(forward, _occlusion(part_id, target_x, target_y, size))


def _occlusion(part_id: Tensor, target_x: Tensor, target_y: Tensor, size: int) -> Tensor:
    """True where the target shows another part, or lies outside the frame."""
    column = ((target_x + 1) * (size / 2)).floor().long()
    row = ((target_y + 1) * (size / 2)).floor().long()
    outside = (column < 0) | (column >= size) | (row < 0) | (row >= size)
    index = row.clamp(0, size - 1) * size + column.clamp(0, size - 1)
    arrived = part_id[1:].flatten(1).gather(1, index.flatten(1)).view_as(index)
    return outside | (arrived != part_id[:-1])


def _frames(at: Pose, which: slice) -> Pose:
    return Pose(at.x[which], at.y[which], at.angle[which], at.scale[which], at.phase[which])
