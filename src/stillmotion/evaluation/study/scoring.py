"""What a study found: for each question, how the methods fared and how far raters agree.

Only the first showing of a case counts; the second tells how far raters agree with themselves.
Attention checks count for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.evaluation.metrics.agreement import krippendorffs_alpha, mean_kendalls_w
from stillmotion.evaluation.metrics.bradley_terry import bradley_terry
from stillmotion.evaluation.metrics.ranks import (
    Estimate,
    average_ranks,
    over_raters,
    preference_rates,
    selection_rates,
    wins,
)
from stillmotion.evaluation.study.answers import Panel
from stillmotion.evaluation.study.choices import Table
from stillmotion.evaluation.study.designs import Aspect, Design, Kind, design_named
from stillmotion.evaluation.study.records import KeyMethod, StudyKey

Floats = NDArray[np.float64]
_BRADLEY_TERRY_ROUNDS = 200
"""Draws for its interval: each is an iteration of its own to convergence."""


@dataclass(frozen=True)
class Consistency:
    """How far raters answered alike when a case came again."""

    share: float
    """Rankings: of the pairs of methods, put in the same order.  Best: of the choices, the same.
    Select: of the clips, judged alike.  NaN if nothing came twice."""
    chance: float
    """What answers without looking would reach."""
    num_repeats: int


@dataclass(frozen=True)
class AspectScore:
    """One question's answer; lists go by the study's methods."""

    aspect: Aspect
    scores: tuple[Estimate, ...]
    """Average rank, preference rate or selection rate, with 95 % intervals over raters."""
    num_answers: int
    """How many (rater, case) there are."""
    kendalls_w: float | None
    """Rankings only: 1 if all raters rank alike."""
    alpha: float
    """Krippendorff's alpha: 1 if all agree, 0 as by chance."""
    consistency: Consistency
    wins: Floats | None
    """(m m) how often the row was preferred to the column; None for selections."""
    borda: tuple[Estimate, ...]
    """Rankings only: mean number of methods ranked below."""
    strengths: tuple[Estimate, ...]
    """Of Bradley and Terry, summing to 1; empty for selections."""


@dataclass(frozen=True)
class StudyScore:
    """All that a study found."""

    key: StudyKey
    design: Design
    panel: Panel
    num_cases: int
    aspects: tuple[AspectScore, ...]
    seconds: float
    """Median over raters of their median time for a question."""

    @property
    def methods(self) -> tuple[KeyMethod, ...]:
        """In the order of all lists of scores."""
        return self.key.methods


def score_study(key: StudyKey, panel: Panel, *, rounds: int = 1000, seed: int = 0) -> StudyScore:
    """Score the answers of a panel.

    Args:
        key: of the study.
        panel: the raters who count, at least one.
        rounds: bootstrap draws of raters.
        seed: of the draws.
    """
    design, table = design_named(key.design), Table(key, panel.answers)
    draws = partial(over_raters, rounds=rounds, seed=seed)
    aspects = tuple(_SCORERS[aspect.kind](table, aspect, draws) for aspect in design.aspects)
    seconds = float(np.nanmedian(table.seconds()))
    return StudyScore(key, design, panel, len(table.cases), aspects, seconds)


def as_facts(score: StudyScore) -> dict[str, Any]:
    """The score for JSON; None for what is not defined."""
    names = [method.name for method in score.methods]
    return {
        "study": score.key.study,
        "design": score.design.name,
        "raters": [answers.rater for answers in score.panel.answers],
        "cases": score.num_cases,
        "incomplete": dict(score.panel.incomplete),
        "failed_checks": dict(score.panel.failed),
        "seconds_per_question": _number(score.seconds),
        "aspects": {each.aspect.key: _aspect_facts(each, names) for each in score.aspects},
    }


def agreement_with_oneself(table: Table, aspect: Aspect) -> Consistency:
    """How far the second answers repeat the first."""
    shares = [_alike(aspect.kind, first, second) for first, second in table.pairs(aspect)]
    chance = 1 / len(table.key.methods) if aspect.kind == "best" else 0.5
    return Consistency(float(np.mean(shares)) if shares else np.nan, chance, len(shares))


_Draws = Callable[..., list[Estimate]]


def _rank_score(table: Table, aspect: Aspect, draws: _Draws) -> AspectScore:
    ranks = table.values(aspect)
    raters = len(ranks)
    scores, methods = draws(average_ranks, ranks), ranks.shape[-1]
    counted = np.stack([wins(one[None]) for one in ranks])
    return AspectScore(
        aspect=aspect,
        scores=tuple(scores),
        num_answers=_num_answered(ranks),
        kendalls_w=mean_kendalls_w(ranks),
        alpha=krippendorffs_alpha(ranks.reshape(raters, -1), "ordinal"),
        consistency=agreement_with_oneself(table, aspect),
        wins=counted.sum(axis=0),
        # A Borda count is the number of methods less the rank (`metrics.ranks.borda`).
        borda=tuple(
            Estimate(methods - one.value, methods - one.high, methods - one.low) for one in scores
        ),
        strengths=_strengths(counted, draws),
    )


def _best_score(table: Table, aspect: Aspect, draws: _Draws) -> AspectScore:
    best, marks = table.best(aspect), table.values(aspect)
    methods = len(table.key.methods)
    counted = np.stack([_wins_of_chosen(one) for one in marks])
    return AspectScore(
        aspect=aspect,
        scores=tuple(draws(partial(preference_rates, num_methods=methods), best)),
        num_answers=int((best >= 0).sum()),
        kendalls_w=None,
        alpha=krippendorffs_alpha(np.where(best >= 0, best, np.nan).astype(np.float64)),
        consistency=agreement_with_oneself(table, aspect),
        wins=counted.sum(axis=0),
        borda=(),
        strengths=_strengths(counted, draws),
    )


def _select_score(table: Table, aspect: Aspect, draws: _Draws) -> AspectScore:
    marks = table.values(aspect)
    return AspectScore(
        aspect=aspect,
        scores=tuple(draws(selection_rates, marks)),
        num_answers=_num_answered(marks),
        kendalls_w=None,
        alpha=krippendorffs_alpha(marks.reshape(len(marks), -1)),
        consistency=agreement_with_oneself(table, aspect),
        wins=None,
        borda=(),
        strengths=(),
    )


_SCORERS: dict[Kind, Callable[[Table, Aspect, _Draws], AspectScore]] = {
    "rank": _rank_score,
    "best": _best_score,
    "select": _select_score,
}


def _num_answered(values: Floats) -> int:
    return int((~np.isnan(values).any(axis=-1)).sum())


def _wins_of_chosen(marks: Floats) -> Floats:
    """Wins (m m) of choices (q m): what is chosen is preferred to each of the others.

    Nothing is said of the others among each other.
    """
    known = marks[~np.isnan(marks).any(axis=-1)]
    return np.asarray(known.T @ (1 - known))


def _strengths(counted: Floats, draws: _Draws) -> tuple[Estimate, ...]:
    """Bradley-Terry strengths from each rater's wins (r m m)."""

    def strengths(drawn: NDArray[np.generic]) -> Floats:
        return bradley_terry(np.asarray(drawn, np.float64).sum(axis=0))

    return tuple(draws(strengths, counted, rounds=_BRADLEY_TERRY_ROUNDS))


def _alike(kind: Kind, first: Floats, second: Floats) -> float:
    if kind == "rank":
        pairs = combinations(range(len(first)), 2)
        return float(np.mean([(first[a] < first[b]) == (second[a] < second[b]) for a, b in pairs]))
    same = first == second
    return float(same.all() if kind == "best" else same.mean())


def _aspect_facts(score: AspectScore, names: list[str]) -> dict[str, Any]:
    def by_method(estimates: tuple[Estimate, ...]) -> dict[str, Any]:
        found = zip(names, estimates, strict=True) if estimates else ()
        return {
            name: {key: _number(value) for key, value in asdict(estimate).items()}
            for name, estimate in found
        }

    return {
        "kind": score.aspect.kind,
        "scores": by_method(score.scores),
        "answers": score.num_answers,
        "kendalls_w": _number(score.kendalls_w),
        "krippendorffs_alpha": _number(score.alpha),
        "consistency": {key: _number(value) for key, value in asdict(score.consistency).items()},
        "borda": by_method(score.borda),
        "bradley_terry": by_method(score.strengths),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value
