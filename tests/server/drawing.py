"""A process that uses up a shared bucket; it imports little, so that it starts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from stillmotion.server.shared import SharedCounters


class Box(Protocol):
    """A queue between processes."""

    def put(self, item: int) -> None: ...


def draw(folder: Path, tries: int, found: Box) -> None:
    """Put into `found` how many of so many tries were let through, of 300 a minute."""
    counters = SharedCounters(folder)
    found.put(sum(counters.draw("ada", 300, 1)[0] for _ in range(tries)))
