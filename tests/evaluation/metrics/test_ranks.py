"""Statistics of user studies: hand-counted answers, and studies simulated with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.ranks import (
    average_ranks,
    borda,
    over_raters,
    places,
    preference_rates,
    selection_rates,
    wins,
)

NAN = math.nan
# Two raters, two questions, three methods; the second rater left the second question out.
RANKS = np.array([[[1, 2, 3], [1.5, 1.5, 3]], [[2, 1, 3], [NAN, NAN, NAN]]])


def rankings(seed: int, *shape: int) -> NDArray[np.float64]:
    return places(np.random.default_rng(seed).integers(0, 4, shape).astype(float))


def test_counted_by_hand() -> None:
    assert average_ranks(RANKS).tolist() == pytest.approx([1.5, 1.5, 3])
    assert borda(RANKS).tolist() == pytest.approx([1.5, 1.5, 0])
    assert wins(RANKS).tolist() == [[0, 1.5, 3], [1.5, 0, 3], [0, 0, 0]]


def test_preferences_and_selections() -> None:
    choices = np.array([[0, 2, -1], [0, 1, 0]])
    assert preference_rates(choices, 4).tolist() == pytest.approx([3 / 5, 1 / 5, 1 / 5, 0])
    selected = np.array([[[1, 0], [1, 1]], [[0, 0], [NAN, NAN]]])
    assert selection_rates(selected).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_what_nobody_answered_is_undefined() -> None:
    assert np.isnan(average_ranks(np.full((2, 1, 3), NAN))).all()
    assert np.isnan(preference_rates(np.full((2, 1), -1), 3)).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31 - 1))
def test_the_counts_agree_with_each_other(seed: int) -> None:
    """A mean rank is 1 and the methods before; a Borda count the methods behind."""
    ranks = rankings(seed, 4, 3, 5)
    ballots = 4 * 3
    assert average_ranks(ranks).sum() == pytest.approx(15)
    assert (borda(ranks) + average_ranks(ranks)).tolist() == pytest.approx([5] * 5)
    assert wins(ranks).sum(axis=1).tolist() == pytest.approx((ballots * borda(ranks)).tolist())
    order = np.random.default_rng(seed).permutation(5)
    assert average_ranks(ranks[..., order]).tolist() == average_ranks(ranks)[order].tolist()


def test_places_of_tied_scores() -> None:
    scores = np.array([[1, 1, 2], [5, 0, 9], [4, 4, 4], [NAN, NAN, NAN]])
    assert places(scores)[:3].tolist() == [[1.5, 1.5, 3], [2, 1, 3], [2, 2, 2]]
    assert np.isnan(places(scores)[3]).all()


def study(seed: int, raters: int) -> NDArray[np.float64]:
    """Raters with a taste of their own rank three methods of qualities 0, 0.5 and 1.5."""
    rng = np.random.default_rng(seed)
    quality = np.array([0, 0.5, 1.5]) + rng.normal(0, 0.5, (raters, 1, 3))
    return places(-(quality + rng.normal(0, 1, (raters, 6, 3))))


def test_a_simulated_study_is_recovered() -> None:
    found = over_raters(average_ranks, study(0, 30))
    assert found[2].value < found[1].value < found[0].value
    assert found[2].high < found[1].low
    assert all(one.low < one.value < one.high for one in found)


def test_the_interval_holds_the_truth_as_often_as_promised() -> None:
    truth = average_ranks(study(1, 4000))
    held = []
    for seed in range(60):
        found = over_raters(average_ranks, study(100 + seed, 20), rounds=200)
        held += [one.low <= true <= one.high for one, true in zip(found, truth, strict=True)]
    assert 0.86 < np.mean(held) <= 0.99


def test_it_draws_raters_and_not_answers() -> None:
    """Raters who always answer the same know no more by answering often."""
    once = np.array([[[1.0, 2.0]], [[2.0, 1.0]]] * 5)
    often = np.repeat(once, 20, axis=1)
    assert over_raters(average_ranks, once) == over_raters(average_ranks, often)
    [first, _] = over_raters(average_ranks, once)
    assert first.high - first.low > 0.4


def test_intervals_of_other_statistics_and_seeds() -> None:
    choices = np.array([[0, 1], [0, 0], [1, 0], [-1, -1]])
    found = over_raters(lambda answers: preference_rates(answers, 2), choices, seed=3)
    assert [one.value for one in found] == pytest.approx([4 / 6, 2 / 6])
    assert found[0].low == pytest.approx(1 - found[1].high)
    assert found == over_raters(lambda answers: preference_rates(answers, 2), choices, seed=3)
    [single] = over_raters(lambda answers: answers.mean(axis=(0, 1)), choices.astype(float))
    assert single.low <= single.value <= single.high
    [nothing, _, _] = over_raters(average_ranks, np.full((2, 1, 3), NAN), rounds=10)
    assert math.isnan(nothing.low)


@pytest.mark.parametrize(
    "answer", [[1, 2, 2], [0, 1, 2], [1, 1, 3], [3, 3, 3], [1, 2, NAN], [2, 4, 6]]
)
def test_what_are_no_ranks(answer: list[float]) -> None:
    with pytest.raises(InputError, match="are not ranks of 3 methods"):
        average_ranks(np.array([[[1, 2, 3], answer]], float))


def test_other_errors() -> None:
    for shape in ((2, 3), (2, 2, 1)):
        with pytest.raises(InputError, match=r"not \(raters, questions, methods\)"):
            average_ranks(np.ones(shape))
    with pytest.raises(InputError, match="from 0 to 2, or -1"):
        preference_rates(np.array([[0, 3]]), 3)
    with pytest.raises(InputError, match="of 0 and 1"):
        selection_rates(np.full((1, 1, 2), 2.0))
    with pytest.raises(InputError, match="no raters"):
        over_raters(average_ranks, np.ones((0, 1, 3)))
