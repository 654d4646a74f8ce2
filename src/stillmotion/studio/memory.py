"""The ids that a browser keeps between visits: all else is in the queue and the library."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

STORAGE_KEY = "stillmotion-studio"
_ID = re.compile(r"[0-9a-f]{32}")
_MOST = 64
"""Jobs kept of each kind: the newest."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one browser works on."""

    drawn: tuple[str, ...] = ()
    """Jobs whose stills are in the row."""
    still: str = ""
    """The artifact that is animated."""
    end: str = ""
    """The artifact that clips end with."""
    made: tuple[str, ...] = ()
    """Jobs whose clips are shown, newest first."""
    clip: str = ""
    """The clip that is drawn anew."""

    @classmethod
    def read(cls, said: Any) -> Memory:
        """From what a browser sends, of which only ids are believed to be ids."""
        said = said if isinstance(said, dict) else {}
        lists = {name: _ids(said.get(name)) for name in ("drawn", "made")}
        ones = {name: _id(said.get(name)) for name in ("still", "end", "clip")}
        return cls(**lists, **ones)  # type: ignore[arg-type]

    def said(self) -> dict[str, Any]:
        """As the browser keeps it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def changed(self, **changes: Any) -> Memory:
        """The same with other ids."""
        return replace(self, **changes)

    def with_made(self, jobs: tuple[str, ...]) -> Memory:
        """With more clips, before those that were there."""
        others = tuple(job for job in self.made if job not in jobs)
        return self.changed(made=(*jobs, *others)[:_MOST])

    def with_drawn(self, jobs: tuple[str, ...]) -> Memory:
        """With more stills at the end of the row."""
        others = tuple(job for job in self.drawn if job not in jobs)
        return self.changed(drawn=(*others, *jobs)[-_MOST:])

    def without(self, id_: str) -> Memory:
        """Without an artifact or job that is no more."""
        return self.changed(
            drawn=tuple(job for job in self.drawn if job != id_),
            made=tuple(job for job in self.made if job != id_),
            **{name: "" for name in ("still", "end", "clip") if getattr(self, name) == id_},
        )


def _id(said: Any) -> str:
    return said if isinstance(said, str) and _ID.fullmatch(said) else ""


def _ids(said: Any) -> tuple[str, ...]:
    given = said if isinstance(said, list | tuple) else ()
    return tuple(dict.fromkeys(filter(None, map(_id, given))))[:_MOST]
