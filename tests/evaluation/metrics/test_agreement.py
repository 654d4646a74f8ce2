"""Agreement between raters: published answers, definitions, and chance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.agreement import (
    Level,
    kendalls_w,
    krippendorffs_alpha,
    mean_kendalls_w,
)
from stillmotion.evaluation.metrics.ranks import places

NAN = math.nan
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_gives_the_published_values(level: Level, alpha: float) -> None:
    assert krippendorffs_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)


def alpha_by_pairs(values: NDArray[np.float64], level: Level) -> float:
    """From the pairs of answers, without a table of coincidences."""
    units = [[v for v in unit if not math.isnan(v)] for unit in values.T]
    units = [unit for unit in units if len(unit) > 1]
    pool = [value for unit in units for value in unit]

    def apart(one: float, other: float) -> float:
        if level == "nominal":
            return float(one != other)
        low, high = min(one, other), max(one, other)
        between = sum(low <= value <= high for value in pool)
        return (between - (pool.count(one) + pool.count(other)) / 2) ** 2 if low != high else 0.0

    within = sum(
        sum(apart(a, b) for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1)
        for unit in units
    ) / len(pool)
    across = sum(apart(a, b) for a, b in itertools.permutations(pool, 2))
    across /= len(pool) * (len(pool) - 1)
    return 1 - within / across if across else NAN


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1), st.sampled_from(["nominal", "ordinal"]))
def test_alpha_is_the_plain_count_of_pairs(seed: int, level: Level) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 5, (4, 6)).astype(float)
    values[rng.random((4, 6)) < 0.25] = NAN
    found, expected = krippendorffs_alpha(values, level), alpha_by_pairs(values, level)
    assert found == pytest.approx(expected, nan_ok=True)


def test_alpha_of_full_and_of_no_agreement() -> None:
    agreed = np.array([[1, 2, 3, 2]] * 3, float)
    for level in ("nominal", "ordinal"):
        assert krippendorffs_alpha(agreed, level) == 1  # type: ignore[arg-type]
    by_chance = np.random.default_rng(0).integers(0, 4, (20, 400)).astype(float)
    assert krippendorffs_alpha(by_chance) == pytest.approx(0, abs=0.01)
    assert krippendorffs_alpha(np.array([[1, 2, 1, 2], [2, 1, 2, 1]], float)) < 0


def test_where_alpha_is_undefined() -> None:
    assert math.isnan(krippendorffs_alpha(np.full((3, 4), 2.0)))
    assert math.isnan(krippendorffs_alpha(np.array([[1, NAN], [NAN, 2]])))


def test_w_counted_by_hand() -> None:
    """Sums 4, 6, 8 of two raters: S = 8 and W = 12 * 8 / (4 * 24); 3 raters with a tie."""
    assert kendalls_w(np.array([[1, 2, 3], [3, 2, 1]], float)) == 0
    assert kendalls_w(np.array([[1, 2, 3], [1, 2, 3]], float)) == 1
    assert kendalls_w(np.array([[1, 2, 3], [2, 1, 3]], float)) == pytest.approx(0.75)
    # Sums 3.5, 5.5, 9: S = 15.5; T = 6 of the third rater; 186 / (9 * 24 - 3 * 6).
    tied = np.array([[1, 2, 3], [1, 2, 3], [1.5, 1.5, 3]])
    assert kendalls_w(tied) == pytest.approx(186 / 198)
    alike = np.array([[1.5, 1.5, 3], [1.5, 1.5, 3]])
    assert kendalls_w(alike) == pytest.approx(1)  # ties do not keep from agreeing


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6), st.integers(2, 6))
def test_w_is_the_mean_correlation_of_pairs(seed: int, raters: int, methods: int) -> None:
    """W = (1 + (r - 1) mean Spearman) / r, without ties."""
    ranks = places(np.random.default_rng(seed).random((raters, methods)))
    pairs = itertools.combinations(ranks, 2)
    spearman = np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs])
    assert kendalls_w(ranks) == pytest.approx((1 + (raters - 1) * spearman) / raters)


def test_w_leaves_out_who_did_not_answer() -> None:
    ranks = np.array([[1, 2, 3], [NAN, NAN, NAN], [2, 1, 3]])
    assert kendalls_w(ranks) == kendalls_w(ranks[[0, 2]])
    assert math.isnan(kendalls_w(ranks[:2]))
    assert math.isnan(kendalls_w(np.full((3, 3), 2.0)))


def test_the_mean_over_questions() -> None:
    ranks = np.array([[[1, 2, 3]] * 3, [[1, 2, 3], [3, 2, 1], [NAN, NAN, NAN]]])
    assert mean_kendalls_w(ranks) == pytest.approx(0.5)
    assert math.isnan(mean_kendalls_w(ranks[:1]))


def test_errors() -> None:
    with pytest.raises(InputError, match="are not ranks of 2 methods"):
        kendalls_w(np.array([[1, 3]], float))
    with pytest.raises(InputError, match="have no alpha"):
        krippendorffs_alpha(np.ones(3))
    with pytest.raises(InputError, match="at the level 'interval'"):
        krippendorffs_alpha(PUBLISHED, "interval")  # type: ignore[arg-type]
