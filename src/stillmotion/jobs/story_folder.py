"""The work folder of a film: finished shots and stills, each under a key of all that decides it.

    film.shots/shot-02-1f0c….safetensors   a clip, exact, with its record
    film.shots/still-02-9ab3….png          a still that was drawn, with its latents

A shot whose key is there is not made again, whatever its number is now.  Files appear whole or not
at all, so that work can be cut short at any moment.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.media.clips import load_clip
from stillmotion.media.provenance import Provenance
from stillmotion.media.still import Still

_KEY_CHARS = 16


def key_of(record: Provenance, *before: str) -> str:
    """sha256 (hex, its beginning) of a record and of the keys that it builds on.

    The record that a shot's file carries says everything that decides its pixels: the model's
    weights by their fingerprint, given pictures by their pixels, every setting, the seed and the
    version of this package.  Names of files are left out, which decide nothing, and the memory
    plan, so that a film can go on with another one.
    """
    inputs = tuple(given.model_copy(update={"name": None}) for given in record.inputs)
    nameless = record.model_copy(update={"inputs": inputs, "output": None})
    text = json.dumps([nameless.to_json(), *before])
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_CHARS]


@dataclass(frozen=True)
class WorkFolder:
    """The folder; it need not be there yet."""

    path: Path

    def new_clip(self, number: int, key: str) -> Path:
        """Where the clip of a shot is to be written."""
        return self.path / f"shot-{number:02d}-{key}.safetensors"

    def new_still(self, number: int, key: str) -> Path:
        """Where the still of a shot is to be written."""
        return self.path / f"still-{number:02d}-{key}.png"

    def clip(self, key: str) -> Path | None:
        """The finished clip with this key; None if there is none that can be read."""
        return next((p for p in self._found(f"shot-*-{key}.safetensors") if _is_clip(p)), None)

    def still(self, key: str) -> Path | None:
        """The finished still with this key, likewise."""
        return next((p for p in self._found(f"still-*-{key}.png") if _is_still(p)), None)

    def _found(self, pattern: str) -> list[Path]:
        return sorted(self.path.glob(pattern))


def _is_clip(path: Path) -> bool:
    try:
        load_clip(path)
    except InputError:
        return False
    return True


def _is_still(path: Path) -> bool:
    try:
        return Still.load(path).latents is not None
    except InputError:
        return False
