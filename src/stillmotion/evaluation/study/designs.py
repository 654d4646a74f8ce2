"""What raters are asked.

AnimateZero (arXiv:2312.03793), section 5: 20 subjects rank the methods for motion, for appearance
(whether it matches the given picture) and for subjective quality; the mean rank is reported.
DynamiCrafter (arXiv:2310.12190), section 4.3: 49 participants choose the best in motion quality
and in temporal coherence (preference rates, which sum to 1 over the methods) and select all
results that conform to the picture (selection rates, each in 0 to 1 by itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from stillmotion.errors import InputError

Kind = Literal["rank", "best", "select"]
"""All clips in order; the one that is best; all that fit."""


@dataclass(frozen=True)
class Aspect:
    """One question about the clips of a case."""

    key: str
    """In answers; its words are `KEY.title`, `KEY.question` of `stillmotion...study.words`."""
    kind: Kind
    column: str
    """Its column in the papers' tables."""


@dataclass(frozen=True)
class Design:
    """The questions of a study."""

    name: str
    aspects: tuple[Aspect, ...]
    source: str

    def aspect(self, key: str) -> Aspect:
        """The question of this key; KeyError without."""
        return {aspect.key: aspect for aspect in self.aspects}[key]


ANIMATEZERO = Design(
    "animatezero",
    (
        Aspect("motion", "rank", "Motion"),
        Aspect("appearance", "rank", "Appearance"),
        Aspect("subjective", "rank", "Subjective"),
    ),
    "AnimateZero (arXiv:2312.03793), Table 2",
)
DYNAMICRAFTER = Design(
    "dynamicrafter",
    (
        Aspect("motion_quality", "best", "M.Q."),
        Aspect("temporal_coherence", "best", "T.C."),
        Aspect("input_conformity", "select", "I.C."),
    ),
    "DynamiCrafter (arXiv:2310.12190), Table 3",
)
DESIGNS: Mapping[str, Design] = {design.name: design for design in (ANIMATEZERO, DYNAMICRAFTER)}


def design_named(name: str) -> Design:
    """The design of this name.  Raises InputError if there is none."""
    if name not in DESIGNS:
        raise InputError(f"There is no study design '{name}'; choose {' or '.join(DESIGNS)}.")
    return DESIGNS[name]
