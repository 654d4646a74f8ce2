"""Answers of made-up raters: to rehearse a study, and see how many raters it needs, beforehand."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from stillmotion.errors import InputError
from stillmotion.evaluation.study.designs import Aspect, design_named
from stillmotion.evaluation.study.records import SCHEMA_VERSION, Answer, Answers, KeyTrial, StudyKey
from stillmotion.evaluation.study.stream import Shuffling, Step

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_SPOILED_STRENGTH = 1e-6


def simulated_answers(
    key: StudyKey, strengths: Mapping[str, float], count: int, *, seed: int = 0
) -> list[Answers]:
    """What `count` raters answer who prefer methods by Luce's choice axiom.

    A method is chosen first with probability `strength / sum of the strengths`, the next among the
    rest alike (Luce 1959, Plackett 1975), so that Bradley-Terry strengths are these.  Of clips
    that match the picture each is selected with `strength / (strength + mean strength)`.  The
    spoiled clip of a check is last nearly always.

    Args:
        key: of the study.
        strengths: above 0, by the method's name.
        count: raters, called rater-1 and so on.
        seed: of their answers.

    Raises:
        InputError: the strengths are not those of the study's methods, or not above 0.
    """
    names = [method.name for method in key.methods]
    if set(strengths) != set(names) or min(strengths.values()) <= 0:
        raise InputError(
            f"The strengths are {dict(strengths)}; give a number above 0 for each of "
            f"{', '.join(names)}."
        )
    total = sum(strengths.values())
    shares = {name: strength / total for name, strength in strengths.items()}
    return [_rater(key, shares, number, seed) for number in range(1, count + 1)]


def shuffling_of(key: StudyKey) -> Shuffling:
    """What the page shuffles, from the key."""
    trials = {trial.id: sorted(trial.clips) for trial in key.trials}
    return Shuffling(key.shuffle, trials, key.repeatable, key.repeats)


def _rater(key: StudyKey, shares: Mapping[str, float], number: int, seed: int) -> Answers:
    name = f"rater-{number}"
    stream = random.Random(f"{seed}:{name}")
    trials = {trial.id: trial for trial in key.trials}
    answers = [
        _answer(step, trials[step.trial], key, shares, stream)
        for step in shuffling_of(key).steps(name)
    ]
    return Answers(
        schema_version=SCHEMA_VERSION,
        study=key.study,
        rater=name,
        session=hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()[:16],
        saved_at=_BEGINNING + timedelta(minutes=number),
        answers=tuple(answers),
    )


def _answer(
    step: Step,
    trial: KeyTrial,
    key: StudyKey,
    shares: Mapping[str, float],
    stream: random.Random,
) -> Answer:
    weights = {
        clip: _SPOILED_STRENGTH if clip == trial.spoiled else shares[method]
        for clip, method in trial.clips.items()
    }
    return Answer(
        trial=step.trial,
        showing=1 if step.showing == 1 else 2,
        order=step.order,
        choices={
            aspect.key: tuple(_choice(aspect, weights, step.order, stream))
            for aspect in design_named(key.design).aspects
        },
        seconds=round(stream.uniform(5, 40), 1),
        loops=stream.randrange(2, 12),
    )


def _choice(
    aspect: Aspect, weights: Mapping[str, float], order: Sequence[str], stream: random.Random
) -> list[str]:
    if aspect.kind == "select":
        mean = sum(weights.values()) / len(weights)
        return [clip for clip in order if stream.random() < weights[clip] / (weights[clip] + mean)]
    # The order of exponential clocks that ring at these rates is that of the choices.
    rings = {clip: -math.log(1 - stream.random()) / weights[clip] for clip in order}
    ranked = sorted(order, key=lambda clip: rings[clip])
    return ranked if aspect.kind == "rank" else ranked[:1]
