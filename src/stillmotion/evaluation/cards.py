"""Which card a model of the miniature's size has: what is measured, and what it begins with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from stillmotion.evaluation import card, video_card
from stillmotion.evaluation.card import Line, Tick
from stillmotion.evaluation.run import Plan
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
from stillmotion.models.registry import pipeline_class


@dataclass(frozen=True, kw_only=True)
class Card:
    """One kind of card."""

    measure: Callable[[Plan, int, Tick], list[Line]]
    num_measurements: Callable[[int], int]
    """How often measuring ticks, by the number of samples."""
    about: str | None = None
    """The card's beginning; None is that of the whole miniature."""


def card_of(plan: Plan) -> Card:
    """The card of the plan's model."""
    if pipeline_class(plan.model_folder) != DYNAMICRAFTER_PIPELINE:
        return Card(measure=card.measure_card, num_measurements=card.num_measurements)
    index = json.loads((plan.model_folder / "model_index.json").read_text(encoding="utf-8"))
    ends = bool(index.get("interpolates"))
    return Card(
        measure=partial(video_card.measure_video_card, interpolates=ends),
        num_measurements=partial(video_card.num_video_measurements, interpolates=ends),
        about=video_card.ABOUT_ENDS if ends else video_card.ABOUT_PICTURES,
    )
