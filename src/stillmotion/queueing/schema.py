"""The tables, and how those of an older version are brought up to date."""

from __future__ import annotations

import sqlite3

from stillmotion.errors import InputError

_FIRST = """
CREATE TABLE queue (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    paused INTEGER NOT NULL DEFAULT 0
);
INSERT INTO queue (one) VALUES (1);

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    job TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('queued', 'paused', 'running', 'cancelling', 'done', 'failed', 'cancelled')),
    priority INTEGER NOT NULL,
    place REAL NOT NULL,
    owner TEXT NOT NULL,
    idempotency_key TEXT,
    asked TEXT NOT NULL,
    cost REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    error TEXT,
    worker TEXT,
    lease TEXT,
    lease_ends REAL,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
);
CREATE UNIQUE INDEX jobs_once ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_next ON jobs (state, priority DESC, place);
CREATE INDEX jobs_leases ON jobs (lease_ends) WHERE lease IS NOT NULL;

CREATE TABLE job_inputs (
    job_id TEXT NOT NULL,
    artifact_id TEXT NOT NULL,
    PRIMARY KEY (job_id, artifact_id)
) WITHOUT ROWID;
CREATE INDEX job_inputs_used ON job_inputs (artifact_id);

CREATE TABLE previews (job_id TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX events_of_job ON events (job_id, number);

CREATE TABLE artifacts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    width INTEGER,
    height INTEGER,
    num_frames INTEGER,
    created_at REAL NOT NULL,
    job_id TEXT,
    owner TEXT NOT NULL,
    main TEXT,
    pinned INTEGER NOT NULL DEFAULT 0,
    UNIQUE (folder, name)
);
CREATE INDEX artifacts_of_job ON artifacts (job_id);
CREATE INDEX artifacts_of_main ON artifacts (main);

CREATE TABLE thumbnails (artifact_id TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;
"""

# One's own jobs are listed, and what one has is counted whenever a job is submitted.
_OWNERS = """
CREATE INDEX jobs_of_owner ON jobs (owner, number);
CREATE INDEX jobs_counted ON jobs (owner, state, cost);
"""

#: Step n leads from version n to n + 1; they are only ever added to.
MIGRATIONS: tuple[str, ...] = (_FIRST, _OWNERS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest version, all steps or none.

    Raises InputError if they are newer than this.
    """
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been first.
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise InputError(
                f"the library was written by a newer version of stillmotion (its tables are of "
                f"version {version}, this one knows {len(MIGRATIONS)}); use that one."
            )
        for step in MIGRATIONS[version:]:
            for statement in _statements(step):
                connection.execute(statement)
        # A pragma takes no parameters.
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """`executescript` would commit before it begins."""
    return [statement for statement in script.split(";") if statement.strip()]
