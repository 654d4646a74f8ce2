"""Looks: how the same content is pictured.

A look takes the albedo and the edges and changes the rendering, never the content.  All patterns
are locked to the frame, as a screen or a sheet of paper is; sizes are relative to the frame, so
that a look is the same at every resolution, but for outlines, which are two pixels wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def stylise(domain: str, albedo: Tensor, edges: Callable[[], Tensor]) -> Tensor:
    """Picture the content in one look.

    Args:
        domain: a name from `vocabulary.DOMAINS`.
        albedo: `(f, 3, h, w)`, 0 to 1.
        edges: gives `(f, h, w)`, 0 or 1; called by the looks that draw outlines.

    Returns:
        `(f, 3, h, w)`, 0 to 1.
    """
    if domain in _FLAT:
        return _FLAT[domain](albedo).clamp(0, 1)
    return _OUTLINED[domain](albedo, edges()).clamp_(0, 1)


def _plain(albedo: Tensor) -> Tensor:
    return albedo


def _pixel_art(albedo: Tensor) -> Tensor:
    """Blocks of one sixteenth of the frame, few levels per channel."""
    size = albedo.shape[-1]
    blocks = F.avg_pool2d(albedo, size // 16)
    levels = (blocks * 5).round() / 5
    return F.interpolate(levels, size=(size, size), mode="nearest")


def _neon(albedo: Tensor, edges: Tensor) -> Tensor:
    """Glowing outlines over a dark version of the scene."""
    peak = albedo.amax(1, keepdim=True).clamp(min=0.5)
    vivid = _contrast(albedo / peak)
    line = edges[:, None] * vivid
    glow = _blur(line, albedo.shape[-1] // 16)
    violet = torch.tensor([0.03, 0.0, 0.08])[:, None, None]
    return 0.40 * _contrast(albedo) + violet + 0.6 * line + glow


def _sketch(albedo: Tensor, edges: Tensor) -> Tensor:
    """Coloured pencil: hatched colour on white paper, graphite outlines."""
    size = albedo.shape[-1]
    hatch = 0.62 + 0.2 * _stripes(size)
    paper = torch.tensor([0.98, 0.97, 0.93])[:, None, None]
    coloured = paper - hatch * (1 - albedo) * paper
    return coloured * (1 - 0.62 * _blur(edges[:, None], max(size // 64, 1)))


def _watercolour(albedo: Tensor, edges: Tensor) -> Tensor:
    """Soft pale washes with pigment gathered at their borders."""
    size = albedo.shape[-1]
    wash = _blur(albedo, size // 40)
    border = _blur(edges[:, None], size // 32)
    pale = 0.36 + 0.64 * wash
    return pale * (1 - 0.28 * border) + 0.035 * _grain(size)


_FLAT: dict[str, Callable[[Tensor], Tensor]] = {"plain": _plain, "pixel-art": _pixel_art}
_OUTLINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "neon": _neon,
    "sketch": _sketch,
    "watercolour": _watercolour,
}


def _blur(image: Tensor, radius: int) -> Tensor:
    """Two box filters of width 2 radius + 1, close to a Gaussian; matrix products are fastest."""
    smooth = _smoothing(image.shape[-1], radius)
    return smooth @ image @ smooth.T


@lru_cache(maxsize=16)
def _smoothing(size: int, radius: int) -> Tensor:
    """The matrix of both box filters along one axis; each averages what lies inside the frame."""
    place = torch.arange(size)
    box = ((place[:, None] - place).abs() <= radius).float()
    box /= box.sum(1, keepdim=True)
    return box @ box


def _contrast(image: Tensor) -> Tensor:
    """x ** 1.5, without the slow power function."""
    return image * image.sqrt()


def _screen(size: int) -> tuple[Tensor, Tensor]:
    ramp = torch.arange(size, dtype=torch.float32) / size
    return ramp[None, :], ramp[:, None]


def _stripes(size: int) -> Tensor:
    """Diagonal pencil strokes, 16 across the frame, -1 to 1."""
    x, y = _screen(size)
    return torch.sin(2 * math.pi * 16 * (x + y))


def _grain(size: int) -> Tensor:
    """The unevenness of watercolour paper, -1 to 1."""
    x, y = _screen(size)
    first = torch.sin(2 * math.pi * (7 * x + 3 * y)) * torch.sin(2 * math.pi * (4 * y - 5 * x))
    return first * torch.cos(2 * math.pi * (2 * x + 9 * y))
