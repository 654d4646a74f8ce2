"""What several server processes on one library count together, in a database beside the queue.

Its own file, since its rules are others: what it holds may be lost in a power failure, so nothing
waits for the disk; and those who watch the queue for changes are not woken by it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stillmotion.queueing.database import transaction

FILE_NAME = "limits.sqlite"
PLACE_SECONDS = 60.0
"""A process that is silent for so long has given back its places."""
_BUSY_SECONDS = 0.25
"""Requests wait for it; who cannot count counts alone."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS buckets "
    "(name TEXT PRIMARY KEY, filled REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS places (process TEXT NOT NULL, name TEXT NOT NULL, "
    "count INTEGER NOT NULL, until REAL NOT NULL, PRIMARY KEY (process, name)) WITHOUT ROWID",
)


def pour(filled: float, since: float, per_minute: int, wanted: int) -> tuple[int, float, float]:
    """Out of a bucket of one minute's requests that held `filled` this many seconds ago.

    Returns how many can be had now, at most `wanted`; how full it is then; and, if there was
    none, the seconds until there is one.
    """
    per_second = per_minute / 60
    filled = min(float(per_minute), filled + max(0.0, since) * per_second)
    given = min(wanted, int(filled))
    return given, filled - given, 0.0 if given else (1 - filled) / per_second


class SharedCounters:
    """Buckets of requests and places for streams, by name, of all processes on a library.

    All methods raise sqlite3.Error where the file cannot be used; an object can be used by several
    threads.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = folder / FILE_NAME, clock
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def draw(self, name: str, per_minute: int, wanted: int) -> tuple[int, float]:
        """Take up to `wanted` requests out of a bucket; if there is none, the seconds to wait."""
        with self._writing() as connection:
            now = self._clock()
            row = connection.execute(
                "SELECT filled, at FROM buckets WHERE name = ?", (name,)
            ).fetchone()
            filled, at = row or (float(per_minute), now)
            given, filled, wait = pour(filled, now - at, per_minute, wanted)
            connection.execute(
                "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (name, filled, now)
            )
        return given, wait

    def take(self, name: str, count: int, limit: int) -> int:
        """Have `count` places, if with those of the other processes they are no more than `limit`.

        Returns how many the others have; where that is too many, nothing is changed.
        """
        with self._writing() as connection:
            [others] = connection.execute(
                "SELECT COALESCE(SUM(count), 0) FROM places "
                "WHERE name = ? AND process <> ? AND until > ?",
                (name, self._process, self._clock()),
            ).fetchone()
            if others + count <= limit:
                self._put(connection, name, count)
        return int(others)

    def keep(self, counts: Mapping[str, int]) -> None:
        """Say again, before others take them for given back, which places this process has."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM places WHERE process = ? OR until < ?", (self._process, self._clock())
            )
            for name, count in counts.items():
                self._put(connection, name, count)

    def put(self, name: str, count: int) -> None:
        """This process has so many places now."""
        with self._writing() as connection:
            self._put(connection, name, count)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _put(self, connection: sqlite3.Connection, name: str, count: int) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            (self._process, name, count, self._clock() + PLACE_SECONDS),
        )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection = self._connection or self._open()
            with transaction(self._connection) as connection:
                yield connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # In this mode a commit waits for no disk, and a power failure damages nothing.
            connection.execute("PRAGMA synchronous = NORMAL")
            for table in _TABLES:
                connection.execute(table)
        except BaseException:
            connection.close()
            raise
        return connection
