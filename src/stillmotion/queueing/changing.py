"""Changes of a job that has not been started, inside a transaction: all that are asked, or none."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from stillmotion.jobs.model import AnyJob
from stillmotion.queueing import submitting
from stillmotion.queueing.database import tell
from stillmotion.queueing.rows import find_job
from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.queueing.views import ENDED, WAITING, StateError


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be different; what is None stays as it is."""

    job: AnyJob | None = None
    cost: float | None = None
    """Of the new job; None: as the old one."""
    priority: int | None = None
    paused: bool | None = None
    limits: SubmitLimits | None = None
    """What the jobs that wait may cost, with the new one among them."""


def apply(connection: sqlite3.Connection, job_id: str, change: Change, now: float) -> None:
    """Make the whole change.

    Raises StateError if the job was started, QueueFullError beyond the limits, FieldError for an
    artifact that is not there; the transaction is to be rolled back then.
    """
    if change.job is not None:
        row = waiting(connection, job_id, "changed")
        cost = row["cost"] if change.cost is None else change.cost
        if change.limits is not None:
            submitting.check_cost(connection, row["owner"], cost, change.limits, beside=job_id)
        submitting.replace(connection, job_id, change.job, cost)
        tell(connection, now, "edited", job_id)
    if change.priority is not None:
        waiting(connection, job_id, "moved")
        set_columns(connection, job_id, "moved", now, priority=change.priority)
    if change.paused is not None:
        _set_paused(connection, job_id, change.paused, now)


def _set_paused(connection: sqlite3.Connection, job_id: str, paused: bool, now: float) -> None:
    """Nothing is done, nor told, if the job is as it should be; one that runs is not paused."""
    if (find_job(connection, job_id)["state"] == "paused") == paused:
        return
    waiting(connection, job_id, "paused; it can be cancelled")
    kind, state = ("paused", "paused") if paused else ("resumed", "queued")
    set_columns(connection, job_id, kind, now, state=state)


def waiting(connection: sqlite3.Connection, job_id: str, done: str) -> sqlite3.Row:
    """A job that was not started.  Raises StateError if it was."""
    row = find_job(connection, job_id)
    if row["state"] not in WAITING:
        raise StateError(f"the job is {row['state']}; only one that waits can be {done}.")
    return row


def set_columns(
    connection: sqlite3.Connection, job_id: str, kind: str, now: float, **changes: Any
) -> None:
    """Set columns, whose names are this package's own, and tell of it as an event of this kind."""
    columns = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE jobs SET {columns} WHERE id = ?", (*changes.values(), job_id))
    if changes.get("state") in ENDED:
        submitting.tidy(connection, job_id)
    tell(connection, now, kind, job_id)
