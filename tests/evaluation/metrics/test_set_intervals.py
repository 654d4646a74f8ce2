"""Intervals of distances between sets: against simulation, where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.distances import frechet_distance, kernel_distance
from stillmotion.evaluation.metrics.set_intervals import (
    difference_interval,
    frechet_interval,
    kernel_interval,
)

Interval = Callable[..., tuple[float, float]]
BOTH = [(frechet_distance, frechet_interval), (kernel_distance, kernel_interval)]


def draw(seed: int, count: int, shift: float = 0, features: int = 6) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=rng, dtype=torch.float64) + shift


@pytest.mark.parametrize(("distance", "interval"), BOTH)
def test_it_is_as_wide_as_the_distance_varies(
    distance: Callable[[Tensor, Tensor], float], interval: Interval
) -> None:
    pairs = [(draw(2 * k, 64, 0.5), draw(2 * k + 1, 64)) for k in range(50)]
    values = np.array([distance(made, real) for made, real in pairs])
    found = np.array([interval(made, real, rounds=30) for made, real in pairs])
    spread = np.diff(found).mean() / (2 * 1.96)
    assert 0.8 * values.std() < spread < 1.3 * values.std()
    held = (found[:, 0] <= values.mean()) & (values.mean() <= found[:, 1])
    assert held.mean() >= 0.9


def test_a_bootstrap_would_miss_the_distance_itself() -> None:
    """Why there is none: drawn twice, clips seem fewer and the distance larger."""
    made, real = draw(0, 40, 0.4, 32), draw(1, 40, features=32)
    rng = np.random.default_rng(0)

    def again(some: Tensor) -> Tensor:
        return some[torch.from_numpy(rng.integers(len(some), size=len(some)))]

    for distance, interval in BOTH:
        value = distance(made, real)
        draws = [distance(again(made), again(real)) for _ in range(60)]
        assert np.quantile(draws, 0.025) > value
        low, high = interval(made, real)
        assert low < value < high


def test_more_clips_give_a_narrower_interval() -> None:
    for _, interval in BOTH:
        widths = [
            float(np.diff(interval(draw(0, count, 0.5), draw(1, count)))[0])
            for count in (32, 128, 512)
        ]
        assert widths[0] > 1.4 * widths[1] > 1.4**2 * widths[2]


def test_what_is_alike_in_every_half_has_no_width() -> None:
    made = draw(0, 24)
    low, high = frechet_interval(made + 2, made, paired=True)
    assert low == pytest.approx(24)  # 6 features, 2 apart in each
    assert high == pytest.approx(24)
    wide = np.diff(frechet_interval(made + 2, made))
    assert wide > 1  # the same sets, as if they had nothing to do with each other


def test_the_lower_end_of_a_frechet_distance_is_not_below_zero() -> None:
    low, high = frechet_interval(draw(0, 64), draw(1, 64))
    assert 0 <= low < high


def test_a_difference_of_methods_over_the_same_cases() -> None:
    real, made = draw(0, 80), draw(1, 80, 0.5)
    better = made - 0.05
    low, high = difference_interval(frechet_distance, made, better, real)
    value = frechet_distance(made, real) - frechet_distance(better, real)
    assert (low + high) / 2 == pytest.approx(value)
    assert low > 0  # though the intervals of the two overlap by far
    assert frechet_interval(better, real)[1] > frechet_interval(made, real)[0]
    swapped = difference_interval(frechet_distance, better, made, real)
    assert swapped == pytest.approx((-high, -low))
    same = difference_interval(kernel_distance, made, made, real, paired=True)
    assert same == pytest.approx((0, 0), abs=1e-12)


def test_it_repeats_by_its_seed() -> None:
    made, real = draw(0, 20, 0.5), draw(1, 30)
    assert frechet_interval(made, real, seed=1) == frechet_interval(made, real, seed=1)
    assert frechet_interval(made, real, seed=1) != frechet_interval(made, real, seed=2)


def test_too_few_clips_say_nothing() -> None:
    for _, interval in BOTH:
        assert all(math.isnan(end) for end in interval(draw(0, 7), draw(1, 40)))


def test_sets_that_are_not_of_the_same_cases() -> None:
    with pytest.raises(InputError, match="sets of 20 and 21 clips"):
        frechet_interval(draw(0, 20), draw(1, 21), paired=True)
    with pytest.raises(InputError, match="sets of 20 and 21 clips"):
        difference_interval(kernel_distance, draw(0, 20), draw(1, 21), draw(2, 20))
    with pytest.raises(InputError, match="cannot be compared"):
        kernel_interval(draw(0, 20), draw(1, 20, features=5))
