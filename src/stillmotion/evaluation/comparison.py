"""Whether one method is better than another: tests on samples that both have made.

Two methods are compared over the same cases, so each case gives one difference; what makes some
cases harder than others drops out.  Differences are `first - second`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.intervals import bootstrap

_EXACT_UP_TO = 16
"""Differences of which all sign flips are counted; 2^16 of them take a millisecond."""
_ROUNDS = 9999
"""Random flips of more differences; with the observed one 10,000, so p is never below 1e-4."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference of two methods over the cases that both have."""

    count: int
    """Cases for which both values are defined."""
    mean_difference: float
    """Of first minus second; NaN without cases."""
    low: float
    high: float
    """95 % bootstrap interval over cases."""
    p_value: float
    """Of the sign-flip test, two-sided; not corrected for the number of metrics, see `holm`."""


def compare_paired(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> Comparison:
    """Compare two methods by their values of one metric.

    Args:
        first: (n) values, one for each case.
        second: (n) values for the same cases in the same order.  A case for which either value is
            not finite (a ratio of a resting clip, the PSNR of an exact frame) is left out.
        seed: of the bootstrap and of the random flips.

    Raises:
        InputError: the values are not as many.
    """
    differences = _differences(first, second)
    low, high = bootstrap(differences, seed)
    return Comparison(
        count=len(differences),
        mean_difference=float(differences.mean()) if len(differences) else math.nan,
        low=low,
        high=high,
        p_value=sign_flip_p(differences, seed=seed),
    )


def sign_flip_p(differences: ArrayLike, *, seed: int = 0) -> float:
    """Two-sided p-value of the sign-flip permutation test that the differences centre on 0.

    If the methods are alike, each difference could as well have had the other sign: p is the
    share of the 2^n ways to choose signs whose |sum| reaches the observed one.  Exact for up to 16
    differences other than 0; beyond, 9,999 random choices and the observed one, (hits + 1) /
    10,000, which keeps the test valid (Phipson and Smyth, 2010).  1 if all are 0, NaN without any.

    Args:
        differences: (n) finite values.
        seed: of the random choices.
    """
    values = np.asarray(differences, np.float64).ravel()
    if len(values) == 0:
        return math.nan
    values = values[values != 0]  # flipping a 0 changes nothing, and each sum would count twice
    # Sums that are equal but for rounding are ties.
    reached = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if len(values) <= _EXACT_UP_TO:
        return float((np.abs(_all_sums(values)) >= reached).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (_ROUNDS, len(values)), dtype=np.int8) * 2 - 1
    hits = int((np.abs(signs @ values) >= reached).sum())
    return (hits + 1) / (_ROUNDS + 1)


def mcnemar_exact(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact p-value of McNemar's test that two shares over the same cases are alike.

    Of the b + c cases in which only one method was right, each is equally often right if they are
    alike: p = 2 P(X <= min(b, c)), X binomial with 1/2, at most 1.  1 without such cases.

    Args:
        first: (n) whether the first method was right, for each case.
        second: (n) the same of the second.

    Raises:
        InputError: the answers are not as many.
    """
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    _same_length(one, other)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    total = only_first + only_second
    tail = sum(math.comb(total, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, tail / 2 ** (total - 1)) if total else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in the order given.

    Holm (Scand. J. Statist. 6, 1979): the k-th smallest of m is multiplied by m - k + 1, never
    falls below an earlier one, and is at most 1.  To call those below 0.05 significant is then
    wrong for any of them with at most 5 %.  A NaN stays NaN and does not count.
    """
    adjusted = list(p_values)
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    least = 0.0
    for rank, (p_value, index) in enumerate(order):
        least = max(least, min(1.0, p_value * (len(order) - rank)))
        adjusted[index] = least
    return adjusted


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    one, other = (np.asarray(values, np.float64) for values in (first, second))
    _same_length(one, other)
    both = np.isfinite(one) & np.isfinite(other)
    return np.asarray(one[both] - other[both])


def _same_length(one: NDArray[np.generic], other: NDArray[np.generic]) -> None:
    if one.ndim != 1 or one.shape != other.shape:
        raise InputError(
            f"values of shapes {one.shape} and {other.shape} cannot be paired; give one value of "
            "each method for every case"
        )


def _all_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the values under all 2^n choices of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate((sums + value, sums - value))
    return sums
