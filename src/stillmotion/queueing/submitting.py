"""A job into the table: what it takes from the library, what limits there are, and only once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from dataclasses import dataclass

from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnyJob, job_json, parse_job, settled
from stillmotion.queueing.database import tell
from stillmotion.queueing.views import IdempotencyError, QueueFullError

_CLIP_FIELDS = frozenset({"clip", "clips", "from_clip"})
_FORGET_EVERY = 16
"""Jobs submitted, after which those that have ended are counted."""
_ENDED = "state IN ('done', 'failed', 'cancelled')"
_NOT_ENDED = "state IN ('queued', 'paused', 'running', 'cancelling')"


@dataclass(frozen=True, kw_only=True)
class SubmitLimits:
    """What may wait or run at a time, the new job included; None is no limit."""

    max_waiting: int | None = None
    max_waiting_of_owner: int | None = None
    max_cost_of_owner: float | None = None
    max_ended_of_owner: int | None = None
    """Jobs that have ended and are remembered; beyond it the oldest are forgotten."""


@dataclass(frozen=True)
class NewJob:
    """A job that is submitted."""

    job: AnyJob
    owner: str
    priority: int
    cost: float
    idempotency_key: str | None
    max_attempts: int

    @property
    def asked(self) -> str:
        """sha256 of the job as it was given, by which another with the same key is known."""
        return hashlib.sha256(job_json(self.job).encode()).hexdigest()


def earlier(connection: sqlite3.Connection, new: NewJob) -> str | None:
    """The id of the job that its owner submitted with the same key, if any.

    Raises IdempotencyError if that was another job.
    """
    if new.idempotency_key is None:
        return None
    found = connection.execute(
        "SELECT id, asked FROM jobs WHERE owner = ? AND idempotency_key = ?",
        (new.owner, new.idempotency_key),
    ).fetchone()
    if found is None:
        return None
    if found["asked"] != new.asked:
        raise IdempotencyError(
            "the idempotency key was used before, for another job; give each job its own."
        )
    return str(found["id"])


def add(
    connection: sqlite3.Connection, new: NewJob, limits: SubmitLimits | None, now: float
) -> str:
    """Add a job; its id.  Raises QueueFullError or FieldError."""
    check_limits(connection, new.owner, new.cost, limits or SubmitLimits())
    job, job_id = settled(new.job), uuid.uuid4().hex
    added = connection.execute(
        "INSERT INTO jobs (id, kind, job, state, priority, place, owner, idempotency_key, asked, "
        "cost, max_attempts, created_at) VALUES (?, ?, ?, 'queued', ?, 0, ?, ?, ?, ?, ?, ?)",
        (
            job_id, job.kind, job_json(job), new.priority, new.owner, new.idempotency_key,
            new.asked, new.cost, max(1, new.max_attempts), now,
        ),
    )  # fmt: skip
    connection.execute("UPDATE jobs SET place = ? WHERE id = ?", (added.lastrowid, job_id))
    _keep_inputs(connection, job_id, job)
    tell(connection, now, "queued", job_id)
    if limits is not None and limits.max_ended_of_owner is not None:
        _forget_oldest(connection, new.owner, limits.max_ended_of_owner, added.lastrowid or 0, now)
    return job_id


def forget(connection: sqlite3.Connection, job_id: str, now: float) -> None:
    """Delete a job that has ended; what it made stays."""
    for table in ("events", "previews", "job_inputs"):
        connection.execute(f"DELETE FROM {table} WHERE job_id = ?", (job_id,))
    connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
    tell(connection, now, "deleted", job_id)


def _forget_oldest(
    connection: sqlite3.Connection, owner: str, most: int, number: int, now: float
) -> None:
    """Keep the newest of an owner's jobs that have ended, so that the tables do not grow for ever.

    Looked at now and then only, as the table has to be counted for it.
    """
    if number % _FORGET_EVERY:
        return
    rows = connection.execute(
        f"SELECT id FROM jobs WHERE owner = ? AND {_ENDED} ORDER BY number DESC LIMIT -1 OFFSET ?",
        (owner, most),
    ).fetchall()
    for row in rows:
        forget(connection, row["id"], now)


def replace(connection: sqlite3.Connection, job_id: str, job: AnyJob, cost: float) -> None:
    """Another job under the same id.  Raises FieldError."""
    job = settled(job)
    connection.execute(
        "UPDATE jobs SET kind = ?, job = ?, cost = ? WHERE id = ?",
        (job.kind, job_json(job), cost, job_id),
    )
    connection.execute("DELETE FROM job_inputs WHERE job_id = ?", (job_id,))
    _keep_inputs(connection, job_id, job)


def check_inputs_of(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Hold what a job in the table takes from the library.  Raises FieldError if it is gone."""
    _keep_inputs(connection, row["id"], parse_job(json.loads(row["job"])))


def tidy(connection: sqlite3.Connection, job_id: str) -> None:
    """A job has ended: let go what it held, and what only mattered while it ran."""
    connection.execute("DELETE FROM job_inputs WHERE job_id = ?", (job_id,))
    connection.execute("DELETE FROM previews WHERE job_id = ?", (job_id,))
    connection.execute(
        "DELETE FROM events WHERE job_id = ? AND kind IN ('progress', 'preview')", (job_id,)
    )


def _keep_inputs(connection: sqlite3.Connection, job_id: str, job: AnyJob) -> None:
    for field, source in job.sources():
        if source.artifact is None:
            continue
        found = connection.execute(
            "SELECT kind FROM artifacts WHERE id = ?", (source.artifact,)
        ).fetchone()
        kinds = ("clip",) if field in _CLIP_FIELDS else ("still", "picture")
        if found is None:
            raise FieldError(field, f"{field} is {source.artifact}; there is no such artifact.")
        if found["kind"] not in kinds:
            raise FieldError(
                field,
                f"{field} is {source.artifact}, a {found['kind']}; give a {' or '.join(kinds)}.",
            )
        connection.execute(
            "INSERT OR IGNORE INTO job_inputs VALUES (?, ?)", (job_id, source.artifact)
        )


def check_limits(
    connection: sqlite3.Connection, owner: str, cost: float, limits: SubmitLimits
) -> None:
    """Raise QueueFullError if another job of this cost may not wait now."""
    count = f"SELECT COUNT(*) FROM jobs WHERE {_NOT_ENDED}"
    if limits.max_waiting is not None:
        [there] = connection.execute(count).fetchone()
        if there >= limits.max_waiting:
            raise QueueFullError(
                f"{there} jobs wait or run, as many as may; try again when some have ended."
            )
    if limits.max_waiting_of_owner is not None:
        [there] = connection.execute(f"{count} AND owner = ?", (owner,)).fetchone()
        if there >= limits.max_waiting_of_owner:
            raise QueueFullError(
                f"{there} of your jobs wait or run, as many as may; try again when some have ended."
            )
    check_cost(connection, owner, cost, limits)


def check_cost(
    connection: sqlite3.Connection,
    owner: str,
    cost: float,
    limits: SubmitLimits,
    *,
    beside: str = "",
) -> None:
    """Raise QueueFullError if the owner's jobs, with one of this cost, would cost too much.

    `beside`: the id of the job that this one takes the place of.
    """
    if limits.max_cost_of_owner is None:
        return
    [others] = connection.execute(
        f"SELECT TOTAL(cost) FROM jobs WHERE {_NOT_ENDED} AND owner = ? AND id <> ?",
        (owner, beside),
    ).fetchone()
    if others + cost > limits.max_cost_of_owner:
        raise QueueFullError(
            f"your jobs that wait or run cost {others:.3g}, with this one {others + cost:.3g}, "
            f"but at most {limits.max_cost_of_owner:.3g} may; try again when some have ended."
        )
