"""Each background as a vertical gradient and layers in front of it.

Rendered once per clip: backgrounds do not move, so their flow is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stillmotion.world import shapes
from stillmotion.world.shapes import circle

Rgb = tuple[float, float, float]
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """A shape in the background; `depth` runs from 0 (far) to 1 (near)."""

    distance: Distance
    colour: Rgb
    depth: float


@dataclass(frozen=True)
class Backdrop:
    """Sky (or wall) colours at the top and the bottom, and layers from back to front."""

    top: Rgb
    bottom: Rgb
    layers: tuple[Layer, ...]


def _ground(level: float, height: float, waves: float, offset: float = 0.0) -> Distance:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        return level - y - height * torch.sin(waves * x + offset)

    return distance


def _dots(points: tuple[tuple[float, float], ...], radius: float) -> Distance:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([circle(x, y, px, py, radius) for px, py in points]).amin(0)

    return distance


def _skyline(tops: tuple[float, ...], width: float, start: float) -> Distance:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        towers = [
            shapes.box(x, y, start + i * width, 1.0 + top, 0.42 * width, 1.0)
            for i, top in enumerate(tops)
        ]
        return torch.stack(towers).amin(0)

    return distance


def _firs(level: float, height: float, width: float, start: float, count: int) -> Distance:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        trees = []
        for i in range(count):
            cx = start + i * width
            tip = level - height * (1.0 if i % 2 else 0.8)
            right, left, foot = cx + 0.48 * width, cx - 0.48 * width, level + 0.05
            trees.append(shapes.convex(x, y, ((cx, tip), (right, foot), (left, foot))))
        return torch.stack(trees).amin(0)

    return distance


def _peaks(*peaks: tuple[float, float, float]) -> Distance:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        slopes = [((x - cx).abs() * slope + tip - y) / (1 + slope) for cx, tip, slope in peaks]
        return torch.stack(slopes).amin(0)

    return distance


_STARS = ((-0.8, -0.75), (-0.3, -0.9), (0.15, -0.6), (0.6, -0.85), (0.9, -0.5), (-0.6, -0.35),
          (0.45, -0.25), (-0.1, -0.2), (-1.1, -0.5), (1.2, -0.8))  # fmt: skip

BACKDROPS: dict[str, Backdrop] = {
    "hills": Backdrop((0.42, 0.70, 0.96), (0.82, 0.93, 1.0), (
        Layer(_ground(0.25, 0.22, 2.6), (0.45, 0.72, 0.40), 0.25),
        Layer(_ground(0.55, 0.14, 3.4, 1.8), (0.30, 0.58, 0.24), 0.45),
    )),
    "desert": Backdrop((0.95, 0.80, 0.52), (1.0, 0.93, 0.75), (
        Layer(_ground(0.30, 0.12, 2.2, 0.6), (0.88, 0.70, 0.42), 0.25),
        Layer(_ground(0.60, 0.10, 3.0, 2.4), (0.78, 0.57, 0.30), 0.45),
    )),
    "night": Backdrop((0.03, 0.04, 0.16), (0.12, 0.13, 0.36), (
        Layer(_dots(_STARS, 0.055), (0.98, 0.96, 0.80), 0.05),
        Layer(_ground(0.65, 0.08, 2.4, 1.0), (0.06, 0.08, 0.14), 0.45),
    )),
    "snow": Backdrop((0.62, 0.74, 0.86), (0.86, 0.91, 0.96), (
        Layer(_peaks((-0.55, -0.45, 1.3), (0.5, -0.25, 1.1)), (0.50, 0.58, 0.70), 0.25),
        Layer(_ground(0.45, 0.08, 2.6, 0.4), (0.97, 0.98, 1.0), 0.45),
    )),
    "sunset": Backdrop((0.45, 0.20, 0.52), (1.0, 0.62, 0.35), (
        Layer(_dots(((0.55, 0.12),), 0.32), (1.0, 0.88, 0.45), 0.1),
        Layer(_ground(0.45, 0.03, 5.0), (0.35, 0.16, 0.36), 0.45),
    )),
    "city": Backdrop((0.66, 0.72, 0.78), (0.88, 0.88, 0.86), (
        Layer(_skyline((-0.5, -0.15, -0.7, -0.3, -0.55, -0.1, -0.45), 0.36, -1.1),
              (0.42, 0.46, 0.54), 0.25),
        Layer(_ground(0.72, 0.0, 1.0), (0.30, 0.31, 0.34), 0.45),
    )),
    "forest": Backdrop((0.70, 0.86, 0.82), (0.88, 0.95, 0.86), (
        Layer(_firs(0.5, 1.1, 0.5, -1.25, 6), (0.10, 0.36, 0.26), 0.25),
        Layer(_ground(0.5, 0.03, 4.0), (0.34, 0.42, 0.18), 0.45),
    )),
    "room": Backdrop((0.90, 0.78, 0.80), (0.94, 0.84, 0.84), (
        Layer(lambda x, y: shapes.box(x, y, -0.55, -0.45, 0.32, 0.36), (0.98, 0.98, 0.92), 0.15),
        Layer(lambda x, y: shapes.box(x, y, -0.55, -0.45, 0.25, 0.29), (0.55, 0.80, 0.95), 0.1),
        Layer(_ground(0.55, 0.0, 1.0), (0.62, 0.42, 0.28), 0.45),
    )),
}  # fmt: skip
