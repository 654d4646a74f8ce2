"""From rows of the tables to what is told of them."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable

from stillmotion.queueing.views import (
    Artifact,
    Event,
    JobView,
    NoSuchArtifactError,
    NoSuchJobError,
)

_PAGE_CHARACTERS = 1 << 21
"""Of all jobs on a page."""
_ID = re.compile(r"[0-9a-f]{32}")
JOBS = """
SELECT jobs.*, EXISTS (SELECT 1 FROM previews WHERE job_id = jobs.id) AS has_preview
FROM jobs
"""
ARTIFACTS = """
SELECT artifacts.*,
       EXISTS (SELECT 1 FROM thumbnails WHERE artifact_id = artifacts.id) AS has_thumbnail
FROM artifacts
"""
_OWN_NAMES = (
    "id", "kind", "state", "priority", "owner", "cost", "attempts", "max_attempts", "progress",
    "message", "error", "worker", "created_at", "started_at", "finished_at",
)  # fmt: skip


def job_view(connection: sqlite3.Connection, row: sqlite3.Row) -> JobView:
    """From a row of `JOBS`."""
    made = connection.execute(
        "SELECT id FROM artifacts WHERE job_id = ? ORDER BY number", (row["id"],)
    )
    return JobView(
        **{name: row[name] for name in _OWN_NAMES},
        job=json.loads(row["job"]),
        has_preview=bool(row["has_preview"]),
        artifacts=tuple(found["id"] for found in made),
    )


def find_job(connection: sqlite3.Connection, job_id: str) -> sqlite3.Row:
    """A row of `JOBS`.  Raises NoSuchJobError."""
    found: sqlite3.Row | None = None
    if _ID.fullmatch(job_id):
        found = connection.execute(f"{JOBS} WHERE jobs.id = ?", (job_id,)).fetchone()
    if found is None:
        raise NoSuchJobError(f"there is no job {job_id[:64]!r}; see the list of jobs.")
    return found


def first_page(rows: Iterable[sqlite3.Row], count: int) -> tuple[list[sqlite3.Row], bool]:
    """Jobs up to a number of them and of what they hold, one at least; whether there are more."""
    shown: list[sqlite3.Row] = []
    size = 0
    for row in rows:
        size += len(row["job"])
        if len(shown) == count or (shown and size > _PAGE_CHARACTERS):
            return shown, True
        shown.append(row)
    return shown, False


def find_artifact(connection: sqlite3.Connection, artifact_id: str) -> sqlite3.Row:
    """A row of `ARTIFACTS`.  Raises NoSuchArtifactError."""
    found: sqlite3.Row | None = None
    if _ID.fullmatch(artifact_id):
        found = connection.execute(f"{ARTIFACTS} WHERE artifacts.id = ?", (artifact_id,)).fetchone()
    if found is None:
        raise NoSuchArtifactError(
            f"there is no artifact {artifact_id[:64]!r}; it may have been deleted."
        )
    return found


def event_view(row: sqlite3.Row) -> Event:
    """From a row of the table."""
    return Event(
        number=row["number"],
        job_id=row["job_id"],
        at=row["at"],
        kind=row["kind"],
        data=json.loads(row["data"]),
    )


def artifact_view(row: sqlite3.Row) -> Artifact:
    """From a row of `ARTIFACTS`."""
    names = Artifact.model_fields.keys() - {"pinned", "has_thumbnail"}
    return Artifact(
        **{name: row[name] for name in names},
        pinned=bool(row["pinned"]),
        has_thumbnail=bool(row["has_thumbnail"]),
    )
