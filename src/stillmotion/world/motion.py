"""Motion and pacing: what a scene's subject does in each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stillmotion.world.scene import TRAVEL, Scene


@dataclass(frozen=True)
class Pose:
    """Where the subject stands in each frame.  Every field has shape `(f, 1, 1)`.

    `x`, `y` in half frames; `angle` in radians, clockwise on screen; `scale` multiplies the
    subject's own coordinates; `phase` drives its deformations, in cycles (for "look", the
    amount of turn from -1 to 1).
    """

    x: Tensor
    y: Tensor
    angle: Tensor
    scale: Tensor
    phase: Tensor


def progress(scene: Scene, num_frames: int) -> Tensor:
    """How far the motion has come in each frame, `(f,)`, from 0 to 1."""
    time = torch.linspace(0, 1, num_frames) if num_frames > 1 else torch.zeros(1)
    if scene.pacing == "still":
        return torch.zeros_like(time)
    if scene.pacing == "rest":
        # The speed stays what it is in a steady clip, so that a motion looks the same once
        # it has begun; what is left of the clip only shows its first part.
        return (time - scene.rest).clamp(min=0)
    if scene.pacing == "ease":
        return time * time * (3 - 2 * time)
    if scene.pacing == "accelerate":
        return time**1.7
    return time


def pose(scene: Scene, at: Tensor) -> Pose:
    """The pose at each progress value.

    Args:
        scene: what moves, and how.
        at: progress of the motion, shape `(f,)`, range 0 to 1.
    """
    at = at.view(-1, 1, 1).to(torch.float32)
    zero = torch.zeros_like(at)
    x, y, angle = zero + scene.x, zero + scene.y, zero
    scale, phase = zero + scene.size, zero + scene.phase
    turn = 2 * math.pi
    if scene.motion in TRAVEL:
        dx, dy = TRAVEL[scene.motion]
        x, y = x + dx * at, y + dy * at
    elif scene.motion == "bounce":
        y = y - 0.7 * torch.sin(turn * at).abs()
    elif scene.motion == "spin":
        angle = scene.side * 0.75 * turn * at
    elif scene.motion == "grow":
        scale = scale * (1 + 0.7 * at)
    elif scene.motion == "shrink":
        scale = scale * (1 - 0.5 * at)
    elif scene.motion == "sway":
        angle = scene.side * 0.42 * torch.sin(turn * at)
    elif scene.motion == "look":
        phase = scene.side * torch.sin(0.5 * math.pi * at)
    else:
        phase = phase + _CYCLES[scene.motion] * at
    if scene.subject == "cat" and scene.motion != "look":
        phase = zero
    return Pose(x, y, angle, scale, phase)


#: Cycles of a deformation in one whole motion.  A windmill's cycle is a full turn, and its four
#: sails repeat every quarter: 0.6 turns in 15 steps move 14 degrees a step, far from ambiguous.
_CYCLES: dict[str, float] = {
    "flicker": 2.0,
    "roll": 1.6,
    "flutter": 2.0,
    "turn": 0.6,
    "swim": 2.0,
    "flap": 2.0,
}
