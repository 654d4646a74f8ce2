"""Paired tests: hand-counted answers, plain enumeration, and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillmotion.errors import InputError
from stillmotion.evaluation.comparison import compare_paired, holm, mcnemar_exact, sign_flip_p


def enumerated(values: list[float]) -> float:
    observed = abs(sum(values))
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


def test_sign_flips_counted_by_hand() -> None:
    assert sign_flip_p([1, 1, 1, 1, 1]) == 2 / 32  # only all alike reach 5
    assert sign_flip_p([3, 1]) == 2 / 4
    assert sign_flip_p([1, -1]) == 1
    assert sign_flip_p([0.1, 0.2, 0.3, -0.3]) == enumerated([0.1, 0.2, 0.3, -0.3])


@settings(max_examples=40)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=8))
def test_sign_flips_are_the_plain_enumeration(values: list[int]) -> None:
    """Ties, zeros and signs included; the other direction has the same p."""
    found = sign_flip_p(values)
    assert found == pytest.approx(enumerated([float(value) for value in values]))
    assert sign_flip_p([-value for value in values]) == found
    assert sign_flip_p([*values, 0, 0]) == found


def test_random_flips_agree_with_all_flips() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, 17)
    sums = np.abs(np.array(list(itertools.product((1, -1), repeat=17)), np.int8) @ values)
    exact = float((sums >= abs(values.sum()) - 1e-9).mean())
    assert 0.005 < exact < 0.5
    assert sign_flip_p(values) == pytest.approx(exact, abs=4 * math.sqrt(exact / 10_000))
    assert sign_flip_p(values, seed=1) == sign_flip_p(values, seed=1) != sign_flip_p(values)
    assert sign_flip_p(np.full(40, 1.0)) == 1e-4  # the least that 9,999 flips can say


def test_methods_that_are_alike_seem_different_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    found = np.array([sign_flip_p(rng.normal(size=12)) for _ in range(400)])
    assert (found <= 0.05).mean() == pytest.approx(0.05, abs=0.035)
    assert found.mean() == pytest.approx(0.5, abs=0.06)


def test_a_comparison_knows_what_is_paired() -> None:
    """A small advantage in every case, among cases that differ far more."""
    cases = np.random.default_rng(0).normal(0, 10, 40)
    gain = np.random.default_rng(1).normal(0.5, 0.5, 40)
    found = compare_paired(cases + gain, cases)
    assert found.count == 40
    assert found.mean_difference == pytest.approx(gain.mean())
    assert 0 < found.low < found.mean_difference < found.high < 1
    assert found.p_value < 0.001
    back = compare_paired(cases, cases + gain)
    assert back.mean_difference == pytest.approx(-found.mean_difference)
    assert back.p_value == pytest.approx(found.p_value, abs=1e-3)


def test_cases_without_both_values_are_left_out() -> None:
    found = compare_paired([1, math.nan, 3, math.inf, 5], [0, 1, math.nan, 1, 2])
    assert found.count == 2
    assert found.mean_difference == 2
    assert found.p_value == 0.5
    nothing = compare_paired([math.nan], [1])
    assert nothing.count == 0
    assert all(
        math.isnan(value)
        for value in (nothing.mean_difference, nothing.low, nothing.high, nothing.p_value)
    )


def test_equal_methods() -> None:
    found = compare_paired([1, 2, 3], [1, 2, 3])
    assert (found.mean_difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [(0, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (1, 4, 12 / 32), (3, 3, 1.0), (10, 2, 0.03857)],
)
def test_mcnemar(only_first: int, only_second: int, p_value: float) -> None:
    """(10, 2): 2 (1 + 12 + 66) / 4096."""
    first = [True] * 7 + [True] * only_first + [False] * only_second + [False] * 3
    second = [True] * 7 + [False] * only_first + [True] * only_second + [False] * 3
    assert mcnemar_exact(first, second) == pytest.approx(p_value, abs=1e-5)


def test_mcnemar_is_the_sign_flip_test_of_the_shares() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(14) < 0.7, rng.random(14) < 0.4
    assert mcnemar_exact(first.tolist(), second.tolist()) == pytest.approx(
        sign_flip_p(first.astype(float) - second)
    )


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    some = holm([0.02, math.nan, 0.01])
    assert math.isnan(some[1])
    assert [some[0], some[2]] == [0.02, 0.02]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lies_below_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p_value, found in zip(p_values, adjusted, strict=True):
        assert p_value <= found <= min(1, p_value * len(p_values)) + 1e-12
    by_size = [found for _, found in sorted(zip(p_values, adjusted, strict=True))]
    assert by_size == sorted(by_size)


def test_values_that_are_not_paired() -> None:
    for test in (compare_paired, mcnemar_exact):
        with pytest.raises(InputError, match="cannot be paired"):
            test([1, 0], [1])
