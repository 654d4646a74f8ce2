"""Edges that agree, that are a little or far apart, and that are not there."""

from __future__ import annotations

import math

import numpy as np

from stillmotion.evaluation.metrics.edge_agreement import edge_agreement


def line(*columns: int, frames: int = 2) -> np.ndarray:
    """Upright white lines in pictures of 8 x 10."""
    maps = np.zeros((frames, 8, 10, 3), np.uint8)
    maps[:, :, list(columns)] = 255
    return maps


def test_alike_and_one_pixel_beside() -> None:
    assert edge_agreement(line(4), line(4)) == 1
    assert edge_agreement(line(4), line(5)) == 1
    assert edge_agreement(line(4), line(6)) == 0


def test_half_of_them() -> None:
    """Precision 1 and recall 1/2, or the other way round."""
    assert math.isclose(edge_agreement(line(2), line(2, 8)), 2 / 3)
    assert math.isclose(edge_agreement(line(2, 8), line(2)), 2 / 3)


def test_frames_are_compared_with_their_own() -> None:
    found, wanted = line(2), line(2)
    wanted[1] = line(7)[1]
    assert edge_agreement(found, wanted) == 0.5


def test_without_edges() -> None:
    assert math.isnan(edge_agreement(line(), line()))
    assert edge_agreement(line(), line(3)) == 0
