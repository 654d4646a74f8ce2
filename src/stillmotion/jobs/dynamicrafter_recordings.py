"""The record of a clip by DynamiCrafter, complete enough to make it again, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from stillmotion.dynamicrafter.loading import LoadedDynamiCrafter
from stillmotion.errors import InputError
from stillmotion.jobs.context import Say
from stillmotion.jobs.dynamicrafter_wishes import Wish
from stillmotion.jobs.records import refuse_film
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import Provenance, fingerprint_pixels


class Recipe(BaseModel):
    """The `settings` of a clip's record: all that decides its frames, with prompt and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: int
    dynamicrafter: dict[str, Any]
    """Fields of DynamiCrafterSettings."""
    fps: float
    scale: int
    end: str
    """"open", "picture" or "loop"."""
    seamless: bool
    speed: dict[str, Any] | None = None
    """Shortcuts that were taken, see `SpeedSettings.record`; no part of an exact clip's record."""


@dataclass(frozen=True)
class Recording:
    """The record of a clip that is to be made again."""

    provenance: Provenance
    recipe: Recipe


def read_recording(source: Path) -> Recording:
    """Raises InputError for a film of several shots, or a record that is damaged."""
    provenance = read_provenance(source)
    refuse_film(provenance, source)
    try:
        return Recording(provenance, Recipe.model_validate(provenance.settings))
    except ValidationError as error:
        raise InputError(
            f"the record in '{source}' is damaged: {error.errors()[0]['msg']}"
        ) from error


def tell_what_differs(
    wish: Wish,
    model: LoadedDynamiCrafter,
    recording: Recording,
    picture: NDArray[np.uint8],
    say: Say,
) -> None:
    """Says why the clip cannot come out the same: other weights, or another picture (h w 3)."""
    recorded = recording.provenance
    if recorded.model.fingerprint != model.pipeline.model_fingerprint:
        say(
            f"'{wish.source}' was made by '{recorded.model.name}' with other weights than "
            f"'{model.name}' has here; the new clip will differ"
        )
    known = next((given for given in recorded.inputs if given.role == "still"), None)
    if known is not None and known.sha256 != fingerprint_pixels(picture) and wish.picture:
        say(f"'{wish.picture.name}' is not the picture that '{wish.source}' was made from")
