"""Known preferences are recovered, and small studies scored by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from tests.evaluation.study.runs import METHODS

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.ranks import Estimate, average_ranks, borda, over_raters
from stillmotion.evaluation.study.answers import Panel
from stillmotion.evaluation.study.build import Study
from stillmotion.evaluation.study.choices import Table
from stillmotion.evaluation.study.designs import ANIMATEZERO
from stillmotion.evaluation.study.records import Answers
from stillmotion.evaluation.study.scoring import StudyScore, as_facts, score_study
from stillmotion.evaluation.study.simulate import simulated_answers

STRENGTHS = dict(zip(METHODS, (0.6, 0.3, 0.1), strict=True))


def panel(answers: Sequence[Answers]) -> Panel:
    return Panel(tuple(answers), {}, {}, ())


def scored(study: Study, count: int = 40, seed: int = 0) -> StudyScore:
    answers = simulated_answers(study.key, STRENGTHS, count, seed=seed)
    return score_study(study.key, panel(answers), rounds=200)


def expected_rank(method: str) -> float:
    """1 + the chances of each other method to come before it."""
    others = [strength for name, strength in STRENGTHS.items() if name != method]
    return 1 + sum(other / (other + STRENGTHS[method]) for other in others)


def is_close(found: Estimate, truth: float) -> bool:
    """Within twice the interval's width around its middle, about 4 standard errors: each test
    looks at some 20 numbers at once, of which one or the other is outside of its 95 %."""
    return abs(truth - (found.low + found.high) / 2) <= found.high - found.low


def test_known_ranks_are_recovered(ranking: Study) -> None:
    score = scored(ranking)
    for aspect in score.aspects:
        for method, found in zip(METHODS, aspect.scores, strict=True):
            assert is_close(found, expected_rank(method))
            assert found.low < found.value < found.high
            assert found.high - found.low < 0.4
        for method, found in zip(METHODS, aspect.strengths, strict=True):
            assert is_close(found, STRENGTHS[method])
        answers = simulated_answers(ranking.key, STRENGTHS, 40)
        ranks = Table(ranking.key, answers).values(aspect.aspect)
        counts = over_raters(borda, ranks, rounds=200)
        for found, count in zip(aspect.borda, counts, strict=True):
            assert (found.value, found.low, found.high) == pytest.approx(
                (count.value, count.low, count.high)
            )
        assert aspect.num_answers == 40 * 4  # neither repeats nor the check
        assert 0.1 < aspect.alpha < 0.6
        assert aspect.kendalls_w is not None
        assert 0.1 < aspect.kendalls_w < 0.6


def test_intervals_hold_what_they_promise(ranking: Study) -> None:
    """Over many studies about 95 of 100 intervals hold the truth."""
    aspect = ANIMATEZERO.aspects[0]
    hits = []
    for seed in range(40):
        answers = simulated_answers(ranking.key, STRENGTHS, 20, seed=seed)
        ranks = Table(ranking.key, answers).values(aspect)
        for method, found in zip(
            METHODS, over_raters(average_ranks, ranks, rounds=200), strict=True
        ):
            hits.append(found.low <= expected_rank(method) <= found.high)
    assert 0.85 <= np.mean(hits) <= 1


def test_known_rates_are_recovered(choosing: Study) -> None:
    motion, _, conformity = scored(choosing, count=60).aspects
    mean = sum(STRENGTHS.values()) / 3
    for method, found in zip(METHODS, motion.scores, strict=True):
        assert is_close(found, STRENGTHS[method])
    for method, found in zip(METHODS, motion.strengths, strict=True):
        # A single choice tells no more than the rates do.
        assert found.value == pytest.approx(STRENGTHS[method], abs=0.07)
    for method, found in zip(METHODS, conformity.scores, strict=True):
        assert is_close(found, STRENGTHS[method] / (STRENGTHS[method] + mean))
    assert sum(found.value for found in motion.scores) == pytest.approx(1)
    assert conformity.strengths == conformity.borda == motion.borda == ()
    assert conformity.wins is None


def by_method(study: Study, answers: Answers, order: Sequence[str]) -> Answers:
    """The answers with every ranking in this order of methods."""
    owners = {trial.id: trial.clips for trial in study.key.trials}
    changed = [
        answer.model_copy(update={"choices": {
            name: tuple(sorted(answer.order, key=lambda c: order.index(owners[answer.trial][c])))
            for name in answer.choices
        }})
        for answer in answers.answers
    ]  # fmt: skip
    return answers.model_copy(update={"answers": tuple(changed)})


def test_by_hand(ranking: Study) -> None:
    one, two = simulated_answers(ranking.key, STRENGTHS, 2)
    first, second, third = METHODS
    one = by_method(ranking, one, [first, second, third])
    two = by_method(ranking, two, [second, first, third])
    aspect = score_study(ranking.key, panel([one, two])).aspects[0]
    assert [found.value for found in aspect.scores] == [1.5, 1.5, 3]
    assert [found.value for found in aspect.borda] == [1.5, 1.5, 0]
    # S = 2 * 1^2 * ... : sums of ranks 3, 3, 6 around 4: 1 + 1 + 4 = 6; W = 12 * 6 / (4 * 24).
    assert aspect.kendalls_w == pytest.approx(0.75)
    assert aspect.wins is not None
    assert aspect.wins.tolist() == [[0, 4, 8], [4, 0, 8], [0, 0, 0]]
    assert (aspect.consistency.share, aspect.consistency.num_repeats) == (1, 4)


def test_agreement_with_oneself(ranking: Study) -> None:
    [answers] = simulated_answers(ranking.key, STRENGTHS, 1)
    steady = by_method(ranking, answers, METHODS)
    turned = by_method(ranking, answers, METHODS[::-1])
    swapped = by_method(ranking, answers, [METHODS[1], METHODS[0], METHODS[2]])
    for second, share in ((steady, 1.0), (turned, 0.0), (swapped, 2 / 3)):
        mixed = tuple(
            later if later.showing == 2 else first
            for first, later in zip(steady.answers, second.answers, strict=True)
        )
        both = answers.model_copy(update={"answers": mixed})
        aspect = score_study(ranking.key, panel([both])).aspects[0]
        assert aspect.consistency.share == pytest.approx(share)
        assert aspect.consistency.num_repeats == 2
        # The second showing changes nothing else.
        assert [found.value for found in aspect.scores] == [1, 2, 3]


def test_choices_by_hand(choosing: Study) -> None:
    [answers] = simulated_answers(choosing.key, STRENGTHS, 1)
    owners = {trial.id: trial.clips for trial in choosing.key.trials}
    changed = []
    for answer in answers.answers:
        clips = {owners[answer.trial][clip]: clip for clip in answer.order}
        best = METHODS[0] if answer.showing == 1 else METHODS[1]
        changed.append(answer.model_copy(update={"choices": {
            "motion_quality": (clips[best],),
            "temporal_coherence": (clips[METHODS[2]],),
            "input_conformity": (clips[METHODS[0]], clips[best]) if best != METHODS[0]
            else (clips[best],),
        }}))  # fmt: skip
    one = answers.model_copy(update={"answers": tuple(changed)})
    motion, coherence, conformity = score_study(choosing.key, panel([one])).aspects
    assert [found.value for found in motion.scores] == [1, 0, 0]
    assert motion.wins is not None
    assert motion.wins.tolist() == [[0, 4, 4], [0, 0, 0], [0, 0, 0]]
    assert (motion.consistency.share, motion.consistency.chance) == (0, pytest.approx(1 / 3))
    assert coherence.consistency.share == 1
    assert [found.value for found in conformity.scores] == [1, 0, 0]
    assert conformity.consistency.share == pytest.approx(2 / 3)


def test_incomplete_answers_count_as_far_as_they_go(ranking: Study) -> None:
    one, two = simulated_answers(ranking.key, STRENGTHS, 2)
    part = two.model_copy(update={"answers": two.answers[:2]})
    aspect = score_study(ranking.key, panel([one, part])).aspects[0]
    checks = {trial.id for trial in ranking.key.trials if trial.kind == "check"}
    assert aspect.num_answers == 4 + sum(a.trial not in checks for a in part.answers)
    assert sum(found.value for found in aspect.scores) == pytest.approx(6)


def test_one_rater(ranking: Study) -> None:
    facts = as_facts(score_study(ranking.key, panel(simulated_answers(ranking.key, STRENGTHS, 1))))
    json.dumps(facts, allow_nan=False)
    assert facts["raters"] == ["rater-1"]
    assert facts["aspects"]["motion"]["kendalls_w"] is None
    scores = facts["aspects"]["motion"]["scores"]
    assert set(scores) == set(METHODS)
    assert scores[METHODS[0]].keys() == {"value", "low", "high"}


def test_a_score_is_the_same_again(ranking: Study) -> None:
    assert as_facts(scored(ranking, 5)) == as_facts(scored(ranking, 5))


def test_simulated_raters_choose_by_their_strengths(choosing: Study) -> None:
    answers = simulated_answers(choosing.key, STRENGTHS, 300)
    owners = {trial.id: trial.clips for trial in choosing.key.trials if trial.kind == "case"}
    chosen = [owners[a.trial][a.choices["motion_quality"][0]]
              for rater in answers for a in rater.answers if a.trial in owners]  # fmt: skip
    for method, strength in STRENGTHS.items():
        error = 4 * math.sqrt(strength * (1 - strength) / len(chosen))
        assert chosen.count(method) / len(chosen) == pytest.approx(strength, abs=error)


@pytest.mark.parametrize("strengths", [{"glidewise": 1.0}, {**STRENGTHS, "glidewise": 0.0}])
def test_refused_strengths(choosing: Study, strengths: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give a number above 0 for each of glidewise,"):
        simulated_answers(choosing.key, strengths, 1)
