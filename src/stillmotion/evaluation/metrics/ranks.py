"""What people prefer: statistics of a user study.

Answers are arrays whose first axis is the rater, because raters are what a study samples: an
interval comes from drawing raters anew (`over_raters`).  Shapes: r raters, q questions, m methods.
A rank is 1 for the best; ties share the mean of their places.  NaN, or -1 for a choice, is a
question that a rater did not answer.  Each function takes all answers together, so a rater who
answered more counts more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval; NaN where nothing was answered."""

    value: float
    low: float
    high: float


def average_ranks(ranks: Floats) -> Floats:
    """Mean rank of each method (m), 1 to m; lower is better.

    AnimateZero (arXiv:2312.03793), section 5 and Table 2: 20 subjects rank the methods by motion,
    appearance and subjective quality.  How ties and missing answers were treated is not said.

    Args:
        ranks: (r q m), NaN where not answered.

    Raises:
        InputError: another shape, or ranks that are not those of m methods.
    """
    return _means(checked_ranks(ranks))


def preference_rates(choices: NDArray[np.int64], num_methods: int) -> Floats:
    """Share (m) of the answers that chose each method as the best one, 0 to 1; higher is better.

    DynamiCrafter (arXiv:2310.12190), section 5 and Table 3: motion quality, temporal coherence.

    Args:
        choices: (r q) number of the method chosen, 0 to m - 1; -1 where not answered.
        num_methods: m.

    Raises:
        InputError: another shape, or a choice that is no method.
    """
    choices = np.asarray(choices)
    if choices.ndim != 2 or ((choices < -1) | (choices >= num_methods)).any():
        raise InputError(
            f"choices of shape {choices.shape} are not of {num_methods} methods; give (raters, "
            f"questions) with numbers from 0 to {num_methods - 1}, or -1 for no answer"
        )
    chosen = (choices[..., None] == np.arange(num_methods)).astype(np.float64)
    return _means(np.where(choices[..., None] >= 0, chosen, np.nan))


def selection_rates(selected: Floats) -> Floats:
    """Share (m) of the answers that selected each method, 0 to 1; any number may be selected.

    DynamiCrafter (arXiv:2310.12190), section 5 and Table 3: visual conformity to the input.

    Args:
        selected: (r q m), 1 selected, 0 not, NaN where not answered.

    Raises:
        InputError: another shape or other values.
    """
    selected = np.asarray(selected, np.float64)
    if selected.ndim != 3 or not np.isin(selected[~np.isnan(selected)], (0, 1)).all():
        raise InputError(
            f"selections of shape {selected.shape} are not (raters, questions, methods) of 0 and "
            "1; give NaN where a question was not answered"
        )
    return _means(selected)


def borda(ranks: Floats) -> Floats:
    """Mean Borda count (m): methods ranked below, a tie counting half; 0 to m - 1, higher better.

    De Borda (1781).  With mean ranks for ties it is m minus the average rank; it is exported
    because elections and arenas report it.

    Args:
        ranks: (r q m), NaN where not answered.

    Raises:
        InputError: as for `average_ranks`.
    """
    ranks = checked_ranks(ranks)
    return np.asarray(ranks.shape[-1] - _means(ranks))


def wins(ranks: Floats) -> Floats:
    """How often each method (row) was ranked before each other (column); a tie is half a win each.

    Args:
        ranks: (r q m), NaN where not answered.

    Returns:
        (m m), zeros on the diagonal: what `bradley_terry` takes.

    Raises:
        InputError: as for `average_ranks`.
    """
    ranks = checked_ranks(ranks)
    one, other = ranks[..., :, None], ranks[..., None, :]
    # A comparison with NaN is false, so what was not answered counts for nobody.
    counted = ((one < other) + 0.5 * (one == other)).sum(axis=(0, 1))
    np.fill_diagonal(counted, 0)
    return np.asarray(counted, np.float64)


def over_raters(
    statistic: Callable[[NDArray[Any]], Floats],
    answers: NDArray[Any],
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """A statistic of each method, with a 95 % percentile bootstrap interval over raters.

    Whole raters are drawn with replacement: their answers belong together.  The questions are
    taken as given, so the interval speaks of other raters, not of other clips; with few raters
    (fewer than about 10) it is too narrow.

    Args:
        statistic: from answers to (m) values, or to one value.
        answers: (r ...), as the statistic takes them.
        rounds: draws.
        seed: of the draws.

    Raises:
        InputError: there are no raters.
    """
    if len(answers) == 0:
        raise InputError("there are no raters; give the answers of at least 1")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(answers), size=(rounds, len(answers)))
    values = np.atleast_1d(statistic(answers))
    rows = np.stack([np.atleast_1d(statistic(answers[raters])) for raters in drawn])
    return [_estimate(value, column) for value, column in zip(values, rows.T, strict=True)]


def checked_ranks(ranks: Floats) -> Floats:
    """The ranks as float64, if each answer has all or no methods and sums to 1 + ... + m.

    Raises:
        InputError: another shape, or ranks that are not those of m methods.
    """
    ranks = np.asarray(ranks, np.float64)
    if ranks.ndim != 3 or ranks.shape[-1] < 2:
        raise InputError(
            f"ranks of shape {ranks.shape} are not (raters, questions, methods) of at least 2 "
            "methods"
        )
    methods = ranks.shape[-1]
    answered = ranks[~np.isnan(ranks).all(axis=-1)]
    below = (answered[..., None] > answered[..., None, :]).sum(axis=-1)
    tied = (answered[..., None] == answered[..., None, :]).sum(axis=-1)
    wrong = ~np.isclose(answered, below + (tied + 1) / 2).all(axis=-1)
    if wrong.any():
        raise InputError(
            f"{answered[wrong][0].tolist()} are not ranks of {methods} methods; give 1 to "
            f"{methods} to each answer, ties the mean of their places, or NaN to all"
        )
    return ranks


def places(order: Floats) -> Floats:
    """Ranks (... m) of scores (... m) where a smaller one is better; ties get their mean place.

    For answers in which ties were numbered otherwise, such as 1, 1, 2.  NaN stays NaN.
    """
    order = np.asarray(order, np.float64)
    one, other = order[..., :, None], order[..., None, :]
    below, tied = (one > other).sum(axis=-1), (one == other).sum(axis=-1)
    return np.asarray(np.where(np.isnan(order), np.nan, below + (tied + 1) / 2))


def _means(values: Floats) -> Floats:
    """Means (m) over raters and questions of (r q m), of what is not NaN; NaN of nothing."""
    known = ~np.isnan(values)
    count = known.sum(axis=(0, 1))
    total = np.where(known, values, 0).sum(axis=(0, 1))
    return np.asarray(total / np.where(count > 0, count, np.nan))


def _estimate(value: float, draws: Floats) -> Estimate:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Estimate(float(value), np.nan, np.nan)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))
