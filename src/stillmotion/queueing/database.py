"""Connections to the tables, one for each thread, and transactions."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stillmotion.errors import OutputError
from stillmotion.queueing.schema import migrate

FILE_NAME = "queue.sqlite"
_BUSY_SECONDS = 30.0


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """What is written in the block is written wholly or, after an exception, not at all.

    From its beginning on nobody else writes.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Database:
    """The tables in a folder, which is made if it is not there.

    Raises OutputError if it cannot be, InputError if a newer version wrote the tables.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the library '{folder}' cannot be made: {(error.strerror or str(error)).lower()}; "
                "choose another folder."
            ) from error
        self._process = os.getpid()
        self._local = threading.local()
        self.connection()

    def connection(self) -> sqlite3.Connection:
        """This thread's own."""
        # SQLite keeps locks by process and goes wrong in a forked one; workers are spawned.
        assert os.getpid() == self._process, "open the queue anew in a process that was forked"
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = self._open()
        return found

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.folder / FILE_NAME, timeout=_BUSY_SECONDS, isolation_level=None
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        # What was promised outlives a power failure, too.
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection)
        return connection

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        found = getattr(self._local, "connection", None)
        if found is not None:
            self._local.connection = None
            found.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees no other's half-done work, and is done wholly or not at all."""
        with transaction(self.connection()) as connection:
            yield connection

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds."""
        return self.connection().execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """The first that a query finds."""
        found: sqlite3.Row | None = self.connection().execute(query, values).fetchone()
        return found


def tell(
    connection: sqlite3.Connection,
    at: float,
    kind: str,
    job_id: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Add an event, inside a transaction."""
    connection.execute(
        "INSERT INTO events (job_id, at, kind, data) VALUES (?, ?, ?, ?)",
        (job_id, at, kind, json.dumps(data or {})),
    )
