"""Ratios of step sizes: answers known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.evaluation.metrics.regularity import (
    largest_step_ratio,
    last_step_ratio,
    return_ratio,
    seam_ratio,
)


def clip_of(*levels: int) -> NDArray[np.uint8]:
    """Evenly grey frames."""
    return np.stack([np.full((4, 6, 3), level, np.uint8) for level in levels])


def test_an_even_clip_has_ratios_of_one() -> None:
    steps = np.full(63, 2.0)
    assert largest_step_ratio(steps) == last_step_ratio(steps) == seam_ratio(steps, 16) == 1


def test_the_largest_and_the_last_step() -> None:
    steps = np.array([1.0, 3.0, 1.0, 2.0, 3.0])
    assert largest_step_ratio(steps) == 1.5
    assert last_step_ratio(steps) == pytest.approx(3 / (7 / 4))


def test_the_way_back_of_a_loop() -> None:
    assert return_ratio(clip_of(10, 20, 30, 20, 10)) == 0
    assert return_ratio(clip_of(10, 20, 30, 20)) == 1
    assert return_ratio(clip_of(10, 20, 30, 40)) == 3


def test_steps_at_the_borders_of_windows() -> None:
    """Windows of 8 of 20 frames begin at 0, 2, .. 12: a border before every even frame."""
    steps = np.array([6.0 if (index + 1) % 2 == 0 else 2.0 for index in range(19)])
    assert seam_ratio(steps, 8) == 3
    steps[0] = 100  # the jump at frame 2 is not the windows' doing
    assert seam_ratio(steps, 8) == 3


def test_where_every_step_is_a_border_there_is_nothing_to_compare() -> None:
    assert math.isnan(seam_ratio(np.full(15, 2.0), 4))


def test_a_clip_that_rests_has_no_ratios() -> None:
    steps = np.zeros(15)
    values = (largest_step_ratio(steps), last_step_ratio(steps), seam_ratio(steps, 8))
    assert all(math.isnan(value) for value in (*values, return_ratio(clip_of(7, 7, 7))))


def test_a_single_step_has_none_before_it() -> None:
    assert math.isnan(last_step_ratio(np.array([3.0])))
