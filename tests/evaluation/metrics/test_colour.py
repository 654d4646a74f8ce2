"""Saturation and brightness: answers known by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.evaluation.metrics.colour import (
    brightness,
    brightness_drift,
    saturation,
    saturation_drift,
)


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


def test_brightness_is_the_luma_of_the_plainest_loop() -> None:
    assert brightness(frame(9, 9, 9)) == pytest.approx(9)
    assert brightness(frame(255, 255, 255)) == pytest.approx(255)
    assert brightness(frame(0, 200, 0)) == pytest.approx(117.4)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    expected = [
        sum(0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] for row in picture for p in row) / 20
        for picture in pixels
    ]
    assert brightness(pixels).tolist() == pytest.approx(expected)


def test_a_clip_that_darkens_or_brightens() -> None:
    even, half, double = frame(100, 100, 100), frame(50, 50, 50), frame(200, 200, 200)
    assert brightness_drift(np.stack([even] * 4 + [half] * 2)) == pytest.approx(-50)
    assert brightness_drift(np.stack([even] * 4 + [double] * 2)) == pytest.approx(100)
    assert math.isnan(brightness_drift(np.stack([frame(0, 0, 0), even])))


def test_saturation_and_brightness_drift_apart() -> None:
    pale, vivid = frame(130, 70, 100), frame(160, 40, 100)
    assert saturation_drift(np.stack([pale, vivid])) == pytest.approx(100)
    assert abs(brightness_drift(np.stack([pale, vivid]))) < 10
