"""How often, and how many at a time: counted by name, together with the other server processes.

A process draws requests out of the shared bucket by the handful, and hands them out from memory:
about one second's worth at a time.  So most requests cost no look at the disk, those of a client
that has used up its minute cost none at all, and all processes together never allow more than one
of them would.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stillmotion.server.logs import tell
from stillmotion.server.problems import TOO_MANY, ProblemError
from stillmotion.server.shared import SharedCounters, pour

_SECONDS_IN_HAND = 1.0
_ALONE_SECONDS = 5.0
"""How long a process counts alone after the shared counters could not be used."""


@dataclass
class _Hand:
    """What a process has of one name's requests."""

    left: int = 0
    empty_until: float = 0.0
    """Nothing can be drawn before."""


@dataclass
class RateLimiter:
    """A bucket of one minute's requests per name, which fills evenly.

    Names are those of tokens, so there are never more buckets than tokens.  Without `shared`, or
    while that cannot be used, the buckets are this process's own.
    """

    shared: SharedCounters | None = None
    clock: Callable[[], float] = time.monotonic
    _hands: dict[str, _Hand] = field(default_factory=dict)
    _own: dict[str, tuple[float, float]] = field(default_factory=dict)
    _alone_until: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds_to_wait(self, name: str, per_minute: int) -> float:
        """Take one request out of the bucket: 0 if it was there, else the seconds until it is."""
        with self._lock:
            now = self.clock()
            hand = self._hands.setdefault(name, _Hand())
            if not hand.left and now < hand.empty_until:
                return hand.empty_until - now
            if not hand.left:
                wanted = max(1, int(per_minute / 60 * _SECONDS_IN_HAND))
                hand.left, wait = self._draw(name, per_minute, wanted, now)
                if not hand.left:
                    hand.empty_until = now + wait
                    return wait
            hand.left -= 1
            return 0.0

    def _draw(self, name: str, per_minute: int, wanted: int, now: float) -> tuple[int, float]:
        if self.shared is not None and now >= self._alone_until:
            try:
                return self.shared.draw(name, per_minute, wanted)
            except sqlite3.Error as error:
                _told_alone(error)
                self._alone_until = now + _ALONE_SECONDS
        filled, at = self._own.get(name, (float(per_minute), now))
        given, filled, wait = pour(filled, now - at, per_minute, wanted)
        self._own[name] = (filled, now)
        return given, wait


def _told_alone(error: sqlite3.Error) -> None:
    """A full or slow disk does not stop the server; its operator hears of it."""
    tell("limits", logging.WARNING, error=type(error).__name__, counted="by this process alone")


@dataclass
class Places:
    """Places that are taken for a while: per name, with the other processes, and in all, here."""

    total: int
    """In this process."""
    what: str
    shared: SharedCounters | None = None
    _taken: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def taken(self) -> int:
        """How many are taken now, in this process."""
        return self._taken.total()

    @contextmanager
    def place(self, name: str, limit: int) -> Iterator[None]:
        """Hold one place.  Raises ProblemError (429) if `name` has `limit`, or all are taken."""
        self.take(name, limit)
        try:
            yield
        finally:
            self.give_back(name)

    def take(self, name: str, limit: int) -> None:
        """Take a place, to be given back by `give_back`.  Raises as `place` does."""
        with self._lock:
            mine = self._taken[name]
            full = mine >= limit or self.taken >= self.total
            others = 0 if full else self._others(name, mine + 1, limit)
            if full or mine + others >= limit:
                raise ProblemError(
                    TOO_MANY,
                    f"{self.what}: {mine + others} are open for this token and {self.taken} in "
                    f"all; at most {min(limit, self.total)} and {self.total} are allowed: close "
                    "one first.",
                    retry_after=5,
                )
            self._taken[name] = mine + 1

    def give_back(self, name: str) -> None:
        """Free a place that was taken."""
        with self._lock:
            self._taken[name] -= 1
            left = self._taken[name]
            if left <= 0:
                del self._taken[name]
            if self.shared is not None:
                try:
                    self.shared.put(name, max(0, left))
                except sqlite3.Error as error:
                    _told_alone(error)  # `keep` says it again

    def keep(self) -> None:
        """Tell the other processes again what is taken here; to be called now and then."""
        if self.shared is None:
            return
        with self._lock:
            try:
                self.shared.keep(self._taken)
            except sqlite3.Error as error:
                _told_alone(error)

    def _others(self, name: str, count: int, limit: int) -> int:
        """How many the other processes have; while they cannot be asked, none."""
        if self.shared is None:
            return 0
        try:
            return self.shared.take(name, count, limit)
        except sqlite3.Error as error:
            _told_alone(error)
            return 0
