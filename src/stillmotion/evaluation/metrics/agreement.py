"""How far raters agree, 1 being perfectly."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.ranks import checked_ranks

Level = Literal["nominal", "ordinal"]


def kendalls_w(ranks: NDArray[np.float64]) -> float:
    """Kendall's coefficient of concordance of the rankings of the same methods, 0 to 1.

    W = 12 S / (r^2 (m^3 - m) - r sum_j T_j), with S the squared deviations of the methods' sums of
    ranks from their mean, and T_j = sum (t^3 - t) over the groups of t tied methods of rater j
    (Kendall and Babington Smith, Ann. Math. Statist. 10, 1939; ties: Kendall, Rank Correlation
    Methods, 1948).  1: all rank alike; around 1 / r: by chance.

    Args:
        ranks: (r m), 1 the best, ties the mean of their places; raters with NaN are left out.

    Returns:
        W; NaN for fewer than 2 raters, or if all rate all methods alike.

    Raises:
        InputError: not the ranks of m methods.
    """
    ranks = checked_ranks(np.asarray(ranks, np.float64)[:, None])[:, 0]
    ranks = ranks[~np.isnan(ranks).any(axis=1)]
    raters, methods = ranks.shape
    sums = ranks.sum(axis=0)
    spread = float(((sums - sums.mean()) ** 2).sum())
    groups = [np.unique(row, return_counts=True)[1] for row in ranks]
    tied = float(sum((group**3 - group).sum() for group in groups))
    largest = raters**2 * (methods**3 - methods) - raters * tied
    return 12 * spread / largest if raters > 1 and largest > 0 else math.nan


def mean_kendalls_w(ranks: NDArray[np.float64]) -> float:
    """Mean of Kendall's W over the questions (r q m) for which it is defined; else NaN."""
    ranks = checked_ranks(ranks)
    values = [kendalls_w(ranks[:, question]) for question in range(ranks.shape[1])]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def krippendorffs_alpha(values: NDArray[np.float64], level: Level = "nominal") -> float:
    """Krippendorff's alpha: 1 - observed over expected disagreement, at most 1.

    alpha = 1 - (n - 1) sum o_ck d_ck / sum n_c n_k d_ck, with o the coincidences of values c and k
    in one unit, each unit of u answers weighted 1 / (u - 1), n_c their row sums and n their total;
    d_ck = [c != k] for names and (sum_{g = c..k} n_g - (n_c + n_k) / 2)^2 for an order
    (Krippendorff, Content Analysis, 4th ed. 2018, chapter 12).  0: as by chance, below 0: worse.

    Args:
        values: (r u), the answer of each rater for each unit, NaN where there is none.  For
            choices a unit is a question and the value the method chosen (nominal); for ranks a
            unit is a question and a method, the value its rank (ordinal); for selections a unit
            is a question and a method, the value 0 or 1 (nominal).
        level: whether only equality counts or also the order.

    Returns:
        alpha; NaN if no unit has two answers, or all answers are the same.

    Raises:
        InputError: values of another shape, or an unknown level.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or level not in ("nominal", "ordinal"):
        raise InputError(
            f"values of shape {values.shape} at the level '{level}' have no alpha; give (raters, "
            "units) and 'nominal' or 'ordinal'"
        )
    coincidences = _coincidences(values)
    totals = coincidences.sum(axis=1)
    apart = _apart(totals, level)
    expected = float((np.outer(totals, totals) * apart).sum())
    observed = float((coincidences * apart).sum())
    return 1 - (totals.sum() - 1) * observed / expected if expected > 0 else math.nan


def _coincidences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often two values were given to one unit, (k k) of the k different values in order."""
    levels = np.unique(values[~np.isnan(values)])
    counts = (values[..., None] == levels).sum(axis=0)  # units, k
    answers = counts.sum(axis=1)
    counts, answers = counts[answers > 1], answers[answers > 1]
    weighted = counts / (answers - 1)[:, None]
    return np.asarray(weighted.T @ counts - np.diag(weighted.sum(axis=0)))


def _apart(totals: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Squared differences (k k) of the values."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    # The sum from c to k less half of both ends is the difference of the values' mid-ranks.
    middle = np.cumsum(totals) - totals / 2
    return np.asarray((middle[:, None] - middle) ** 2)
