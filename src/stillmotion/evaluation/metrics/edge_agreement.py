"""How well the outlines of a clip follow those that it was asked to follow."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

TOLERANCE = 1
"""Pixels by which an edge may lie beside its counterpart."""


def edge_agreement(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """F-measure of two clips of edge maps (f h w 3), white on black: 1 if alike, 0 if apart.

    Precision is the part of the edge pixels in `found` that have one in `wanted` at most
    `TOLERANCE` pixels away in x and y, recall the same the other way round; both over all frames,
    and F their harmonic mean (Martin et al., PAMI 2004, without their one-to-one assignment).
    NaN if neither has edges.
    """
    one, other = _mask(found), _mask(wanted)
    if not (one.any() or other.any()):
        return float("nan")
    hits_one, hits_other = (one & _wider(other)).sum(), (other & _wider(one)).sum()
    precision = float(hits_one) / max(int(one.sum()), 1)
    recall = float(hits_other) / max(int(other.sum()), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mask(maps: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(maps[..., 0])) > 127


def _wider(mask: Tensor) -> Tensor:
    size = 2 * TOLERANCE + 1
    return F.max_pool2d(mask[:, None].float(), size, stride=1, padding=TOLERANCE)[:, 0] > 0
