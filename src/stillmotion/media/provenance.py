"""The record of how a still or clip was made, complete enough to make it again.

Every output carries it twice: inside the file and in a side-car `<file>.json`.  In a file it is
one line of ASCII JSON, which survives every container, whatever the language of the prompt.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from stillmotion import __version__
from stillmotion.errors import InputError

MAX_JSON_CHARS = 16_000_000
"""Longest record that is parsed; a real one has a few thousand characters."""


def _finite(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json.dumps(value, allow_nan=False)  # ValueError: JSON has no NaN or infinity
    return value


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelIdentity(_Record):
    """Which weights were used: a name for people and a fingerprint (sha256) for machines."""

    name: str
    fingerprint: str


class InputIdentity(_Record):
    """An image or clip that went in: `sha256` is `fingerprint_pixels` of its pixels.

    `name` keeps only the last part of a path, since folders can tell who the user is.
    """

    role: str
    sha256: str
    name: str | None = None

    @field_validator("name")
    @classmethod
    def _without_folders(cls, value: str | None) -> str | None:
        return None if value is None else PurePath(value).name


class StillRecipe(_Record):
    """How a still that was drawn (not given) can be drawn again."""

    prompt: str
    negative_prompt: str = ""
    seed: int
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    _settings_are_finite = field_validator("settings")(_finite)


class OutputRecord(_Record):
    """What was done to the frames to write the file; filled in by `save_clip`/`save_image`.

    `width`, `height` are those of the frames after enlargement by `scale` and before padding by
    `pad_right`, `pad_bottom` pixels to the even size that H.264 needs.
    """

    format: str
    lossless: bool
    num_frames: Annotated[int, Field(ge=1)] = 1
    width: Annotated[int, Field(ge=1)]
    height: Annotated[int, Field(ge=1)]
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    scale: Annotated[int, Field(ge=1)] = 1
    pad_right: Annotated[int, Field(ge=0, le=1)] = 0
    pad_bottom: Annotated[int, Field(ge=0, le=1)] = 0


class Provenance(_Record):
    """Everything needed to make a still or clip again.

    `settings` are the resolved settings (JSON values only, finite numbers).  `still` is the
    recipe of the still if it was drawn for this clip, so that the clip can be reproduced when
    the still's file is gone; a still that was given is identified in `inputs`.
    """

    schema_version: Literal[1] = 1
    ai_generated: Literal[True] = True
    kind: Literal["still", "clip"]
    method: str
    prompt: str
    negative_prompt: str = ""
    seed: int
    stillmotion_version: str = __version__
    model: ModelIdentity
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    inputs: tuple[InputIdentity, ...] = ()
    still: StillRecipe | None = None
    output: OutputRecord | None = None

    _settings_are_finite = field_validator("settings")(_finite)

    def to_json(self) -> str:
        """The canonical form: one line of ASCII, keys sorted, no spaces."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Parse `to_json`'s output.  Raises InputError if it is not a record of this version."""
        if len(text) > MAX_JSON_CHARS:
            raise InputError(
                f"The provenance record has {len(text)} characters; at most {MAX_JSON_CHARS} "
                "are read."
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the record"
            raise InputError(
                f"The provenance record cannot be read ({where}: {first['msg']}); it is damaged "
                "or was written by another version of stillmotion."
            ) from error


def fingerprint_pixels(pixels: NDArray[np.uint8]) -> str:
    """sha256 (hex) of uint8 pixels of any shape, e.g. (h w 3) or (f h w 3), including the shape.

    Raises InputError if they are not uint8.
    """
    if pixels.dtype != np.uint8:
        raise InputError(f"Pixels must be uint8 in 0..255, not {pixels.dtype}.")
    digest = hashlib.sha256(f"uint8 {pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()
