"""Invertible deformations of a subject's parts.

A deformation moves material: `forward` takes a point of the part's canonical shape to where it
is at a phase, and `inverse` takes it back, exactly.  Rendering evaluates shapes at `inverse`;
optical flow is `forward` at the next frame of `inverse` at this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Point = tuple[Tensor, Tensor]


class Deformation(Protocol):
    """Moves canonical points `(u, v)`, shape `(f, h, w)`, by a phase of shape `(f, 1, 1)`."""

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point: ...

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point: ...


@dataclass(frozen=True)
class Rigid:
    """Stays as it is."""

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return u, v

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return u, v


@dataclass(frozen=True)
class Lift:
    """Moves points vertically by an amount that depends on `u` and the phase only."""

    by: Callable[[Tensor, Tensor], Tensor]

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return u, v + self.by(u, phase)

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return u, v - self.by(u, phase)


@dataclass(frozen=True)
class Flame:
    """Stretches above a foot at `foot` and bends more towards the tip."""

    foot: float
    stretch: float = 0.22
    bend: float = 0.35

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        height = self.foot - v
        return u + self._bend(height, phase), self.foot - height * self._stretch(phase)

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        height = (self.foot - v) / self._stretch(phase)
        return u - self._bend(height, phase), self.foot - height

    def _stretch(self, phase: Tensor) -> Tensor:
        return 1 + self.stretch * torch.sin(4 * math.pi * phase)

    def _bend(self, height: Tensor, phase: Tensor) -> Tensor:
        return self.bend * torch.sin(2 * math.pi * phase) * height.clamp(min=0) ** 2


@dataclass(frozen=True)
class Turn:
    """Rotates about a pivot by an angle (radians, clockwise on screen) that follows the phase."""

    x: float
    y: float
    angle: Callable[[Tensor], Tensor]

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return self._rotate(u, v, self.angle(phase))

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return self._rotate(u, v, -self.angle(phase))

    def _rotate(self, u: Tensor, v: Tensor, angle: Tensor) -> Point:
        c, s = torch.cos(angle), torch.sin(angle)
        du, dv = u - self.x, v - self.y
        return self.x + c * du - s * dv, self.y + s * du + c * dv


@dataclass(frozen=True)
class Look:
    """Slides a face sideways over its head and foreshortens it, for a turn from -1 to 1."""

    slide: float = 0.34
    foreshorten: float = 0.35

    def forward(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return u * (1 - self.foreshorten * phase.abs()) + self.slide * phase, v

    def inverse(self, u: Tensor, v: Tensor, phase: Tensor) -> Point:
        return (u - self.slide * phase) / (1 - self.foreshorten * phase.abs()), v
