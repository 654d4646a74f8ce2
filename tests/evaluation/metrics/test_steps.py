"""How a clip moves: answers known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.evaluation.metrics.steps import first_step_ratio, late_drift, step_sizes


def clip_of(levels: list[int]) -> NDArray[np.uint8]:
    """Evenly grey frames."""
    return np.stack([np.full((4, 6, 3), level, np.uint8) for level in levels])


def test_steps_of_grey_frames_are_differences_of_their_levels() -> None:
    assert step_sizes(clip_of([0, 255, 250, 250, 10])).tolist() == [255, 5, 0, 240]


def test_a_step_is_the_mean_over_pixels_and_channels() -> None:
    frames = clip_of([100, 100])
    frames[1, 0, 0, 2] += 72  # one of 4 * 6 * 3 values
    assert step_sizes(frames).tolist() == [1]


def test_even_motion_has_ratio_and_drift_one() -> None:
    steps = step_sizes(clip_of(list(range(0, 160, 10))))
    assert first_step_ratio(steps) == late_drift(steps) == 1


def test_a_jump_at_the_second_frame() -> None:
    steps = step_sizes(clip_of([0, 50, 60, 70, 80, 90, 100]))
    assert first_step_ratio(steps) == 5
    assert late_drift(steps) == 1


def test_late_frames_that_run_away_and_motion_that_dies() -> None:
    steps = np.array([99.0, 1, 1, 2, 2, 4, 4])
    assert late_drift(steps) == 4
    assert late_drift(np.array([99.0, 4, 4, 2, 2, 1, 1])) == 0.25
    assert first_step_ratio(steps) == pytest.approx(99 / (14 / 6))


def test_the_shortest_clips() -> None:
    assert late_drift(np.array([3.0, 2.0])) == 1
    assert first_step_ratio(np.array([3.0, 2.0])) == 1.5


def test_a_clip_that_rests_has_no_ratios() -> None:
    steps = step_sizes(clip_of([7] * 5))
    assert math.isnan(first_step_ratio(steps))
    assert math.isnan(late_drift(steps))
