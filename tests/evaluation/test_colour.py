"""Saturation: answers known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.evaluation.colour import saturation, saturation_drift


def frame(*pixel: int) -> NDArray[np.uint8]:
    """An even picture of one colour."""
    return np.full((4, 6, 3), pixel, np.uint8)


def test_grey_has_none_and_a_pure_colour_all() -> None:
    assert saturation(frame(9, 9, 9)) == 0
    assert saturation(frame(255, 255, 255)) == 0
    assert saturation(frame(0, 255, 0)) == 255


def test_it_is_the_mean_of_largest_less_smallest_channel() -> None:
    picture = frame(200, 50, 120)
    assert saturation(picture) == 150
    picture[:2] = (10, 10, 10)
    assert saturation(picture) == 75


def test_it_is_that_of_the_plainest_loop() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    expected = [
        sum(max(map(int, p)) - min(map(int, p)) for row in picture for p in row) / 20
        for picture in pixels
    ]
    assert saturation(pixels).tolist() == pytest.approx(expected)


def test_fading_and_burning_colours() -> None:
    even, half, double = frame(100, 0, 0), frame(50, 0, 0), frame(200, 0, 0)
    assert saturation_drift(np.stack([even] * 6)) == 0
    assert saturation_drift(np.stack([even] * 4 + [half] * 2)) == -50
    assert saturation_drift(np.stack([even] * 4 + [double] * 2)) == 100


def test_only_the_last_third_counts() -> None:
    frames = np.stack([frame(100, 0, 0)] * 9)
    frames[1:6] = 0
    assert saturation_drift(frames) == 0
    assert saturation_drift(np.stack([frame(100, 0, 0), frame(110, 0, 0)])) == pytest.approx(10)


def test_a_clip_that_begins_grey_has_no_drift() -> None:
    assert math.isnan(saturation_drift(np.stack([frame(7, 7, 7), frame(7, 0, 0)])))
