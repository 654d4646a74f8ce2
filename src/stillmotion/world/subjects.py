"""Each subject as an ordered list of parts, from back to front.

Canonical coordinates: the subject fills about -1 to 1 in both axes, `u` to the right and `v`
downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from stillmotion.world import shapes
from stillmotion.world.deform import Deformation, Flame, Lift, Look, Rigid, Turn

Rgb = tuple[float, float, float]
Distance = Callable[[Tensor, Tensor], Tensor]

_RIGID = Rigid()
_DARK: Rgb = (0.12, 0.11, 0.14)
_LIGHT: Rgb = (0.97, 0.95, 0.88)
_GLASS: Rgb = (0.72, 0.88, 0.97)


@dataclass(frozen=True)
class Part:
    """One piece of a subject: its outline, its colour, and how it deforms.

    `tint` mixes the scene's colour (0) with `colour` (1); `None` keeps the scene's colour.
    """

    distance: Distance
    deform: Deformation = _RIGID
    colour: Rgb | None = None
    tint: float = 1.0


def _shape(function: Callable[..., Tensor], *args: object) -> Distance:
    return lambda u, v: function(u, v, *args)


_circle = partial(_shape, shapes.circle)
_ellipse = partial(_shape, shapes.ellipse)
_box = partial(_shape, shapes.box)


def _polygon(*points: tuple[float, float]) -> Distance:
    return lambda u, v: shapes.convex(u, v, points)


def _union(*parts: Distance) -> Distance:
    def distance(u: Tensor, v: Tensor) -> Tensor:
        result = parts[0](u, v)
        for part in parts[1:]:
            result = torch.minimum(result, part(u, v))
        return result

    return distance


def _candle() -> list[Part]:
    flame = Flame(foot=-0.1)
    return [
        Part(_ellipse(0.0, -0.47, 0.32, 0.5), flame, (0.98, 0.45, 0.05)),
        Part(_ellipse(0.0, -0.34, 0.17, 0.3), flame, (1.0, 0.93, 0.45)),
        Part(_box(0.0, 0.45, 0.36, 0.55)),
        Part(_ellipse(0.0, -0.08, 0.36, 0.09), _RIGID, _LIGHT, 0.45),
    ]


def _swell(amplitude: float, waves: float, offset: float) -> Lift:
    def by(u: Tensor, phase: Tensor) -> Tensor:
        return amplitude * torch.sin(2 * math.pi * (waves * u - phase + offset))

    return Lift(by)


def _waves() -> list[Part]:
    far, near = _swell(0.13, 0.55, 0.0), _swell(0.17, 0.5, 0.37)

    def below(level: float) -> Distance:
        return lambda u, v: level - v

    return [
        Part(below(-0.55), far, _LIGHT, 0.75),
        Part(below(-0.36), far, _DARK, 0.25),
        Part(below(0.1), near, _LIGHT, 0.85),
        Part(below(0.3), near),
    ]


def _flag() -> list[Part]:
    def by(u: Tensor, phase: Tensor) -> Tensor:
        return 0.2 * (u + 0.8).clamp(min=0) * torch.sin(2 * math.pi * (0.7 * u - phase))

    cloth = Lift(by)
    return [
        Part(_box(-0.82, 0.0, 0.07, 1.0), _RIGID, (0.35, 0.26, 0.2)),
        Part(_box(0.1, -0.4, 0.85, 0.5), cloth),
        Part(_box(0.1, -0.4, 0.85, 0.14), cloth, _LIGHT),
    ]


def _windmill() -> list[Part]:
    sails = Turn(0.0, -0.25, lambda phase: 2 * math.pi * phase)
    cross = _union(_box(0.0, -0.25, 0.85, 0.11), _box(0.0, -0.25, 0.11, 0.85))
    return [
        Part(_polygon((-0.3, -0.4), (0.3, -0.4), (0.5, 1.0), (-0.5, 1.0))),
        Part(_box(0.0, 0.78, 0.13, 0.22), _RIGID, _DARK, 0.7),
        Part(cross, sails, _LIGHT),
        Part(_circle(0.0, -0.25, 0.13), _RIGID, _DARK),
    ]


def _cat() -> list[Part]:
    face = Look()
    ears = _union(
        _polygon((-0.72, -0.95), (-0.1, -0.45), (-0.68, 0.0)),
        _polygon((0.72, -0.95), (0.68, 0.0), (0.1, -0.45)),
    )
    return [
        Part(ears, _RIGID, _DARK, 0.25),
        Part(_ellipse(0.0, 0.12, 0.85, 0.75)),
        Part(_ellipse(0.0, 0.42, 0.4, 0.28), face, _LIGHT, 0.8),
        Part(_union(_circle(-0.32, -0.05, 0.2), _circle(0.32, -0.05, 0.2)), face, _LIGHT),
        Part(_union(_circle(-0.32, -0.05, 0.1), _circle(0.32, -0.05, 0.1)), face, _DARK),
        Part(_polygon((-0.12, 0.27), (0.12, 0.27), (0.0, 0.42)), face, (0.95, 0.4, 0.5)),
    ]


def _fish() -> list[Part]:
    def by(u: Tensor, phase: Tensor) -> Tensor:
        reach = (u + 0.5).clamp(min=0)
        return 0.24 * reach * reach * torch.sin(2 * math.pi * (0.25 * u - phase))

    body = Lift(by)
    return [
        Part(_polygon((0.45, 0.0), (1.0, -0.5), (1.0, 0.5)), body, _DARK, 0.3),
        Part(_ellipse(-0.15, 0.0, 0.78, 0.5), body),
        Part(_box(0.02, 0.0, 0.1, 0.42), body, _LIGHT, 0.8),
        Part(_circle(-0.58, -0.1, 0.14), body, _LIGHT),
        Part(_circle(-0.6, -0.1, 0.07), body, _DARK),
    ]


def _bird() -> list[Part]:
    wing = Turn(0.15, 0.1, lambda phase: 0.5 + 0.85 * torch.sin(2 * math.pi * phase))
    return [
        Part(_polygon((-0.72, -0.38), (-1.02, -0.22), (-0.72, -0.1)), _RIGID, (0.98, 0.65, 0.1)),
        Part(_polygon((0.5, 0.1), (1.0, -0.1), (1.0, 0.4)), _RIGID, _DARK, 0.35),
        Part(_ellipse(0.05, 0.2, 0.68, 0.42)),
        Part(_circle(-0.5, -0.2, 0.32)),
        Part(_circle(-0.58, -0.25, 0.09), _RIGID, _DARK),
        Part(_ellipse(0.2, -0.4, 0.25, 0.58), wing, _LIGHT, 0.5),
    ]


def _balloon() -> list[Part]:
    return [
        Part(_box(0.0, 0.75, 0.035, 0.25), _RIGID, _DARK, 0.8),
        Part(_polygon((0.0, 0.38), (0.16, 0.6), (-0.16, 0.6)), _RIGID, _DARK, 0.3),
        Part(_ellipse(0.0, -0.25, 0.66, 0.75)),
        Part(_ellipse(-0.25, -0.55, 0.14, 0.2), _RIGID, _LIGHT, 0.8),
    ]


def _ball() -> list[Part]:
    def band(u: Tensor, v: Tensor) -> Tensor:
        return torch.maximum(v.abs() - 0.2, shapes.circle(u, v, 0.0, 0.0, 0.82))

    return [
        Part(_circle(0.0, 0.0, 0.85)),
        Part(band, _RIGID, _LIGHT),
        Part(_circle(0.42, 0.0, 0.16), _RIGID, _DARK),
    ]


def _car() -> list[Part]:
    cabin = _polygon((-0.45, -0.55), (0.45, -0.55), (0.65, 0.0), (-0.65, 0.0))
    wheels = ((-0.55, 0.5), (0.55, 0.5))
    return [
        Part(cabin, _RIGID, _DARK, 0.2),
        Part(_box(-0.24, -0.24, 0.19, 0.17), _RIGID, _GLASS),
        Part(_box(0.24, -0.24, 0.19, 0.17), _RIGID, _GLASS),
        Part(_box(0.0, 0.2, 1.0, 0.3)),
        Part(_union(*(_circle(x, y, 0.27) for x, y in wheels)), _RIGID, _DARK),
        Part(_union(*(_circle(x, y, 0.11) for x, y in wheels)), _RIGID, _LIGHT, 0.8),
    ]


def _boat() -> list[Part]:
    hull = _polygon((-0.95, 0.35), (0.95, 0.35), (0.6, 0.9), (-0.6, 0.9))
    rim = _polygon((-0.95, 0.35), (0.95, 0.35), (0.87, 0.48), (-0.87, 0.48))
    return [
        Part(_box(0.0, -0.2, 0.05, 0.75), _RIGID, (0.35, 0.24, 0.16)),
        Part(_polygon((0.1, -0.9), (0.75, 0.2), (0.1, 0.2)), _RIGID, _LIGHT),
        Part(_polygon((-0.1, -0.7), (-0.1, 0.2), (-0.65, 0.2)), _RIGID, _LIGHT, 0.8),
        Part(hull),
        Part(rim, _RIGID, _DARK, 0.5),
    ]


def _star() -> list[Part]:
    return [
        Part(lambda u, v: shapes.star(u, v, 5, 1.0, 0.45)),
        Part(_circle(0.0, 0.0, 0.22), _RIGID, _LIGHT, 0.6),
        Part(_circle(0.0, -0.55, 0.11), _RIGID, _DARK, 0.7),
    ]


_BUILDERS: dict[str, Callable[[], list[Part]]] = {
    "candle": _candle,
    "waves": _waves,
    "flag": _flag,
    "windmill": _windmill,
    "cat": _cat,
    "fish": _fish,
    "bird": _bird,
    "balloon": _balloon,
    "ball": _ball,
    "car": _car,
    "boat": _boat,
    "star": _star,
}


def parts(subject: str) -> list[Part]:
    """The parts of a subject, from back to front."""
    return _BUILDERS[subject]()
