"""Intervals against published values and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillmotion.evaluation.intervals import bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), Table I, method 3 (score).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(
    successes: int, total: int, low: float, high: float
) -> None:
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_stays_within_bounds() -> None:
    for successes in range(11):
        low, high = wilson(successes, 10)
        mirrored = wilson(10 - successes, 10)
        assert 0 <= low <= successes / 10 <= high <= 1
        assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


def test_wilson_without_samples_says_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


def test_bootstrap_of_a_constant_is_that_constant() -> None:
    assert bootstrap(np.full(9, 3.5)) == (3.5, 3.5)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(10, 2, 400)
    half = 1.96 * values.std() / math.sqrt(len(values))
    low, high = bootstrap(values)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_repeats_by_its_seed() -> None:
    values = np.arange(12.0)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_bootstrap_without_values_is_undefined() -> None:
    assert all(math.isnan(end) for end in bootstrap(np.array([])))
