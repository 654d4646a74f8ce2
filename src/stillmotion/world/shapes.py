"""Signed distance functions: negative inside, in the units of the coordinates given.

All take canonical coordinates `u` (right) and `v` (down) of any equal shape.  Distances are
exact or, for ellipses, exact to first order at the outline, which is all that anti-aliasing
needs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def circle(u: Tensor, v: Tensor, x: float, y: float, radius: float) -> Tensor:
    """Distance to a circle around `(x, y)`."""
    return torch.hypot(u - x, v - y) - radius


def ellipse(u: Tensor, v: Tensor, x: float, y: float, rx: float, ry: float) -> Tensor:
    """First-order distance to an axis-parallel ellipse: its implicit function over its gradient."""
    a, b = (u - x) / rx, (v - y) / ry
    norm = torch.hypot(a, b)
    gradient = torch.hypot(a / rx, b / ry).clamp(min=1e-3)
    return norm * (norm - 1) / gradient


def box(u: Tensor, v: Tensor, x: float, y: float, hx: float, hy: float) -> Tensor:
    """Chebyshev-style distance to a box with half extents `hx`, `hy`."""
    return torch.maximum((u - x).abs() - hx, (v - y).abs() - hy)


def convex(u: Tensor, v: Tensor, points: tuple[tuple[float, float], ...]) -> Tensor:
    """Distance to a convex polygon, its corners given clockwise on screen."""
    distance: Tensor | None = None
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        nx, ny = (y1 - y0) / length, -(x1 - x0) / length
        edge = (u - x0) * nx + (v - y0) * ny
        distance = edge if distance is None else torch.maximum(distance, edge)
    assert distance is not None
    return distance


def star(u: Tensor, v: Tensor, points: int, outer: float, inner: float) -> Tensor:
    """Distance to a star around the origin with one tip upwards."""
    sector = 2 * math.pi / points
    angle = torch.atan2(u, -v)
    folded = (torch.remainder(angle + sector / 2, sector) - sector / 2).abs()
    radius = torch.hypot(u, v)
    px, py = radius * torch.cos(folded), radius * torch.sin(folded)
    # The outline runs from the tip (outer, 0) to the notch at half a sector.
    ex = inner * math.cos(sector / 2) - outer
    ey = inner * math.sin(sector / 2)
    length = math.hypot(ex, ey)
    return ((px - outer) * ey - py * ex) / length
