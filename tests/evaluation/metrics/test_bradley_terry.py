"""Strengths from pairs: closed forms, the likelihood itself, and simulated contests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.bradley_terry import bradley_terry


def likelihood(strengths: NDArray[np.float64], wins: NDArray[np.float64]) -> float:
    chance = strengths[:, None] / (strengths[:, None] + strengths)
    return float((wins * np.log(chance))[~np.eye(len(wins), dtype=bool)].sum())


def contests(seed: int, methods: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).integers(1, 9, (methods, methods)).astype(float)


def test_two_methods_share_by_their_wins() -> None:
    wins = np.array([[0, 3], [1, 0]])
    assert bradley_terry(wins, prior_ties=0).tolist() == pytest.approx([0.75, 0.25])
    assert bradley_terry(wins, prior_ties=1).tolist() == pytest.approx([3.5 / 5, 1.5 / 5])


def test_consistent_contests_give_their_strengths() -> None:
    strengths = np.array([0.5, 0.3, 0.15, 0.05])
    wins = 100 * strengths[:, None] / (strengths[:, None] + strengths)
    assert bradley_terry(wins, prior_ties=0).tolist() == pytest.approx(strengths.tolist())


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.integers(2, 6))
def test_no_step_aside_is_likelier(seed: int, methods: int) -> None:
    wins = contests(seed, methods)
    found = bradley_terry(wins, prior_ties=0)
    assert found.sum() == pytest.approx(1)
    best = likelihood(found, wins)
    for index in range(methods):
        for factor in (0.99, 1.01):
            aside = found.copy()
            aside[index] *= factor
            assert likelihood(aside, wins) < best


def test_order_and_diagonal_do_not_matter() -> None:
    wins, order = contests(0, 4), np.array([2, 0, 3, 1])
    found = bradley_terry(wins)
    assert bradley_terry(wins[order][:, order]) == pytest.approx(found[order])
    np.fill_diagonal(wins, 99)
    assert bradley_terry(wins) == pytest.approx(found)


def test_who_always_wins_needs_a_prior() -> None:
    wins = np.array([[0, 5, 5], [0, 0, 3], [0, 2, 0]])
    with pytest.raises(InputError, match="prior_ties above 0"):
        bradley_terry(wins, prior_ties=0)
    found = bradley_terry(wins)
    assert found[0] > found[1] > found[2] > 0
    assert bradley_terry(wins, prior_ties=0.1)[0] > found[0]


def test_those_who_never_met_need_one_too() -> None:
    wins = np.array([[0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 2, 0]])
    with pytest.raises(InputError, match="have no maximum"):
        bradley_terry(wins, prior_ties=0)
    # A chain of wins is enough.
    ring = np.roll(np.eye(4), 1, axis=1)
    assert bradley_terry(ring, prior_ties=0).tolist() == pytest.approx([0.25] * 4)


@pytest.mark.parametrize(
    ("wins", "prior"),
    [([[0, -1], [1, 0]], 1), ([[0, 1, 2], [1, 0, 2]], 1), ([[0]], 1), ([[0, 1], [1, 0]], -1)],
)
def test_what_gives_no_strengths(wins: list[list[float]], prior: float) -> None:
    with pytest.raises(InputError, match="give no strengths"):
        bradley_terry(np.array(wins, float), prior_ties=prior)
