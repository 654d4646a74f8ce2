"""What making stills and making clips have in common."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any, TypeVar

from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.settings import AnimateZeroSettings, TimeTravel
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import EXACT, SpeedSettings, speed_of
from stillmotion.jobs.model import SEED_RANGE

Settings = TypeVar(
    "Settings", SamplingSettings, AnimateZeroSettings, PhotographSettings, TimeTravel
)


def with_changes(settings: Settings, **changes: Any) -> Settings:
    """`settings` with the changes that are not `None`."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def chosen_seed(seed: int | None) -> int:
    """The seed given, or one by chance; either way it is recorded."""
    return secrets.randbelow(SEED_RANGE) if seed is None else seed


def chosen_speed(said: str | None, recorded: SpeedSettings | None = None) -> SpeedSettings:
    """What was said, else what was recorded, else exact; InputError for an unknown name."""
    return speed_of(said) if said is not None else recorded or EXACT
