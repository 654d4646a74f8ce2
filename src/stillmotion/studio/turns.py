"""Whose turn it is: what one open page is told comes in the order in which it happened.

A page asks twice at the same time now and then: someone presses a button while it looks for news.
Both would be painted by what the browser knew when it asked, and the later answer would undo the
earlier.  So each page's requests are made one after the other, by what it was last told.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stillmotion.studio.memory import Memory

_MOST = 1000
"""Pages remembered: those that asked last."""


@dataclass
class Turn:
    """One open page."""

    memory: Memory | None = None
    """What it was last told to keep; None: nothing yet."""
    told_at: float = 0.0
    """When, by the monotonic clock."""
    lock: threading.RLock = field(default_factory=threading.RLock)


class Turns:
    """All open pages."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, page: str) -> Iterator[Turn]:
        """Wait until it is the turn of whoever asks for `page`."""
        with self._lock:
            turn = self._turns.setdefault(page, Turn())
            self._turns.move_to_end(page)
            while len(self._turns) > _MOST:
                self._turns.popitem(last=False)
        with turn.lock:
            yield turn
