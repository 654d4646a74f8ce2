"""Strengths of methods from comparisons in pairs, after Bradley and Terry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError

_TOLERANCE, _ITERATIONS = 1e-10, 10_000


def bradley_terry(wins: NDArray[np.float64], *, prior_ties: float = 1.0) -> NDArray[np.float64]:
    """Strengths p (m) with P(i before j) = p_i / (p_i + p_j), summing to 1; higher is better.

    Bradley and Terry, Biometrika 39 (1952).  Found by the MM algorithm of Hunter (Ann. Statist.
    32, 2004): from equal strengths, all at once,

        p_i <- W_i / sum_{j != i} n_ij / (p_i + p_j),    W_i = sum_j w_ij,  n_ij = w_ij + w_ji,

    divided by their sum, until none changes by more than 1e-10 of itself; each iteration raises
    the likelihood.  If some methods never lose to the others there is no maximum: the strengths
    run off to 1 and 0.  That is common with few raters, hence `prior_ties`.

    Args:
        wins: (m m), how often the row was preferred to the column, ties as half a win each, as
            `ranks.wins` counts them; the diagonal is not read.
        prior_ties: ties added to each pair, which pull the strengths a little together and keep
            them finite.  0 gives the plain maximum of the likelihood.

    Raises:
        InputError: not a square table of counts, a negative prior, or, with 0, a likelihood
            without a maximum (Ford, 1957).
    """
    wins = np.array(wins, np.float64)
    square = wins.ndim == 2 and wins.shape[0] == wins.shape[1] >= 2
    if not square or not (np.isfinite(wins).all() and (wins >= 0).all() and prior_ties >= 0):
        raise InputError(
            f"wins of shape {wins.shape} with {prior_ties} prior ties give no strengths; give "
            "(methods, methods) counts from 0 up of at least 2 methods, and a prior from 0 up"
        )
    wins += prior_ties / 2
    np.fill_diagonal(wins, 0)
    if not _all_reach_all(wins > 0):
        raise InputError(
            "the strengths have no maximum, because some methods never lost to the others; "
            "give prior_ties above 0"
        )
    return _mm(wins)


def _mm(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    played, won = wins + wins.T, wins.sum(axis=1)
    strengths = np.full(len(wins), 1 / len(wins))
    for _ in range(_ITERATIONS):
        following = won / (played / (strengths[:, None] + strengths)).sum(axis=1)
        following /= following.sum()
        done = (np.abs(following - strengths) <= _TOLERANCE * strengths).all()
        strengths = following
        if done:
            break
    return strengths


def _all_reach_all(edges: NDArray[np.bool_]) -> bool:
    """Whether each method leads to each other along wins."""
    reach = edges | np.eye(len(edges), dtype=bool)
    for _ in range(len(edges)):
        reach = reach @ reach
    return bool(reach.all())
