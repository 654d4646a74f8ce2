"""Answers as arrays (r q m): r raters, q questions, m methods, for `metrics.ranks`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stillmotion.evaluation.study.designs import Aspect
from stillmotion.evaluation.study.records import Answer, Answers, KeyTrial, StudyKey

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The answers of some raters, by the methods that their clips came from."""

    key: StudyKey
    answers: Sequence[Answers]

    @cached_property
    def cases(self) -> dict[str, KeyTrial]:
        """The questions that count, by id: those that are no attention checks."""
        return {trial.id: trial for trial in self.key.trials if trial.kind == "case"}

    def values(self, aspect: Aspect) -> Floats:
        """What was said of each method (r q m); NaN where not answered.

        A rank, 1 the best, if clips are put in order; else 1 where chosen and 0 where not.
        """
        return self._filled(aspect, 1)

    def best(self, aspect: Aspect) -> NDArray[np.int64]:
        """Number (r q) of the method that was chosen as best; -1 where not answered."""
        marks = self._filled(aspect, 1)
        answered = ~np.isnan(marks).any(axis=-1)
        return np.where(answered, np.nan_to_num(marks).argmax(axis=-1), -1)

    def pairs(self, aspect: Aspect) -> Iterable[tuple[Floats, Floats]]:
        """What was said the first and the second time, each (m), of what was asked twice."""
        first, second = self._filled(aspect, 1), self._filled(aspect, 2)
        both = ~(np.isnan(first) | np.isnan(second)).any(axis=-1)
        return zip(first[both], second[both], strict=True)

    def seconds(self) -> Floats:
        """Median time (r) that each rater took for a question; NaN without answers."""
        return np.array(
            [
                np.median([answer.seconds for answer in one.answers]) if one.answers else np.nan
                for one in self.answers
            ]
        )

    def _filled(self, aspect: Aspect, showing: int) -> Floats:
        places = {identity: place for place, identity in enumerate(self.cases)}
        shape = (len(self.answers), len(self.cases), len(self.key.methods))
        found = np.full(shape, np.nan)
        for rater, answers in enumerate(self.answers):
            for answer in answers.answers:
                if answer.trial in places and answer.showing == showing:
                    found[rater, places[answer.trial]] = self._row(answer, aspect)
        return found

    def _row(self, answer: Answer, aspect: Aspect) -> Floats:
        owner = self.cases[answer.trial].clips
        chosen = [owner[clip] for clip in answer.choices[aspect.key]]
        names = [method.name for method in self.key.methods]
        if aspect.kind == "rank":
            return np.array([chosen.index(name) + 1.0 for name in names])
        return np.array([float(name in chosen) for name in names])
