"""How often, and how many at a time: counters per name, in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stillmotion.server.problems import TOO_MANY, ProblemError


@dataclass
class RateLimiter:
    """A bucket of one minute's requests per name, which fills evenly.

    Names are those of tokens, so there are never more buckets than tokens.
    """

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seconds_to_wait(self, name: str, per_minute: int) -> float:
        """Take one request out of the bucket: 0 if it was there, else the seconds until it is."""
        per_second = per_minute / 60
        with self._lock:
            now = self.clock()
            left, since = self._buckets.get(name, (float(per_minute), now))
            left = min(float(per_minute), left + (now - since) * per_second)
            if left >= 1:
                self._buckets[name] = (left - 1, now)
                return 0.0
            self._buckets[name] = (left, now)
            return (1 - left) / per_second


@dataclass
class Places:
    """Places that are taken for a while, per name and in all."""

    total: int
    what: str
    _taken: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def taken(self) -> int:
        """How many are taken now."""
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
            if self._taken[name] >= limit or self.taken >= self.total:
                allowed = min(limit, self.total)
                raise ProblemError(
                    TOO_MANY,
                    f"{self.what}: {self._taken[name]} are open for this token and {self.taken} in "
                    f"all; at most {allowed} and {self.total} are allowed: close one first.",
                    retry_after=5,
                )
            self._taken[name] += 1

    def give_back(self, name: str) -> None:
        """Free a place that was taken."""
        with self._lock:
            self._taken[name] -= 1
            if self._taken[name] <= 0:
                del self._taken[name]
