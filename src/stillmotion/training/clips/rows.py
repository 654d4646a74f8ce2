"""One listed clip: what a manifest's row, or a clip's note in a shard, says of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.media.container import MIN_FPS

MAX_FPS = 1000.0
FIELDS = ("path", "caption", "fps", "licence", "start", "end")
"""What a row can say; `path` and `caption` it must say."""
_OTHER_SPELLINGS = {"license": "licence"}


@dataclass(frozen=True)
class ShardMember:
    """The bytes of one file in an uncompressed tar file."""

    shard: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """All of it.  Raises InputError if the shard is shorter than it was."""
        with self.shard.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        if len(content) != self.size:
            raise InputError(f"'{self.shard}' is cut short at '{self.name}'; copy it again.")
        return content


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """A clip and what is said of it."""

    location: Path | ShardMember
    caption: str
    where: str
    """The list and the line, for messages."""
    name: str
    """The path as it is written in the list."""
    fps: float | None = None
    """Frames per second to read it at; None: its own."""
    licence: str | None = None
    start: float = 0.0
    """Seconds after the first frame from which it is used."""
    end: float | None = None
    """Seconds up to which it is used; None: to its end."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and where."""

    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


def spelled(name: str) -> str:
    """The name of a field as this package spells it."""
    return _OTHER_SPELLINGS.get(name, name)


def parse_row(
    fields: Mapping[str, object], location: Path | ShardMember, *, where: str, name: str
) -> ClipRow | Problem:
    """A row of what was written; empty entries count as not given, numbers may be text."""
    try:
        caption = _text(fields, "caption")
        if caption is None:
            raise InputError("the clip has no caption; say what it shows.")
        fps, end = _number(fields, "fps"), _number(fields, "end")
        start = _number(fields, "start") or 0.0
        if fps is not None and not MIN_FPS <= fps <= MAX_FPS:
            raise InputError(f"fps is {fps:g}; it can be {MIN_FPS:g} to {MAX_FPS:g}.")
        if start < 0 or (end is not None and end <= start):
            raise InputError(
                f"start is {start:g} s and end {'not given' if end is None else f'{end:g} s'}; "
                "start must be 0 or later and end after it."
            )
        licence = _text(fields, "licence")
    except InputError as error:
        return Problem(where, str(error))
    return ClipRow(
        location=location, caption=caption, where=where, name=name, fps=fps, licence=licence,
        start=start, end=end,
    )  # fmt: skip


def sound(rows: Iterable[ClipRow | Problem], source: Path) -> tuple[ClipRow, ...]:
    """All rows of a list.  Raises InputError for its first problem, or if it lists no clip."""
    kept = []
    for row in rows:
        if isinstance(row, Problem):
            raise InputError(str(row))
        kept.append(row)
    if not kept:
        raise InputError(f"'{source}' lists no clips.")
    return tuple(kept)


def _text(fields: Mapping[str, object], key: str) -> str | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{key} is {value!r}; it must be text.")
    return value.strip() or None


def _number(fields: Mapping[str, object], key: str) -> float | None:
    value = fields.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{key} is {value!r}; it must be a number.")
    return number
