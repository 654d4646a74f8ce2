"""Jobs that wait, run and have ended, for those who submit and follow them.

    queue = JobQueue(folder)
    job_id = queue.submit(job).job.id
    for event in queue.events(since=0, job_id=job_id): ...

An object can be used by several threads, and a folder by several processes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stillmotion.jobs.model import AnyJob
from stillmotion.queueing import changing, ordering, submitting
from stillmotion.queueing.changing import Change
from stillmotion.queueing.database import Database, tell
from stillmotion.queueing.rows import JOBS, event_view, find_job, first_page, job_view
from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.queueing.views import (
    ENDED,
    WAITING,
    Clock,
    Event,
    JobPage,
    JobState,
    JobView,
    QueueState,
    StateError,
    Submission,
)

_NO_STATES = {"queued": 0, "paused": 0, "running": 0, "cancelling": 0, "done": 0, "failed": 0,
              "cancelled": 0}  # fmt: skip
MAX_PAGE = 500


class JobQueue:
    """The queue in a folder, which is made if it is not there.

    Raises OutputError if it cannot be, InputError if a newer version wrote it.
    """

    def __init__(self, folder: Path, *, clock: Clock = time.time) -> None:
        self._database = Database(folder)
        self._clock = clock

    def submit(
        self,
        job: AnyJob,
        *,
        owner: str = "",
        priority: int = 0,
        cost: float = 0.0,
        idempotency_key: str | None = None,
        limits: SubmitLimits | None = None,
        max_attempts: int = 3,
    ) -> Submission:
        """Add a job; what it takes from the library is kept until it has ended.

        A job without a seed gets one.  With an idempotency key that its owner has used for the
        same job before, that one is returned.

        Raises:
            FieldError: an artifact that is not there, or of another kind.
            IdempotencyError: the key was used for another job.
            QueueFullError: the limits are reached.
        """
        new = submitting.NewJob(job, owner, priority, cost, idempotency_key, max_attempts)
        with self._database.writing() as connection:
            found = submitting.earlier(connection, new)
            job_id = found or submitting.add(connection, new, limits, self._clock())
            view = job_view(connection, find_job(connection, job_id))
        return Submission(job=view, is_new=found is None)

    def get(self, job_id: str) -> JobView:
        """One job.  Raises NoSuchJobError, as all that take an id."""
        connection = self._database.connection()
        return job_view(connection, find_job(connection, job_id))

    def list(
        self,
        *,
        states: Iterable[JobState] | None = None,
        owner: str | None = None,
        kind: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> JobPage:
        """Jobs, newest first; `before` is `next` of the page before.

        A page of large jobs is shorter than `limit`.
        """
        wanted: list[tuple[str, list[Any]]] = []
        if states is not None:
            chosen: list[Any] = list(states)
            wanted.append((f"jobs.state IN ({', '.join('?' * len(chosen))})", chosen))
        for words, value in (("owner =", owner), ("kind =", kind), ("number <", before)):
            if value is not None:
                wanted.append((f"jobs.{words} ?", [value]))
        where = " AND ".join(words for words, _ in wanted) or "1"
        values = [value for _, given in wanted for value in given]
        count = max(1, min(limit, MAX_PAGE))
        found = self._database.connection().execute(
            f"{JOBS} WHERE {where} ORDER BY jobs.number DESC LIMIT ?", (*values, count + 1)
        )
        shown, is_more = first_page(found, count)
        return JobPage(jobs=self._views(shown), next=shown[-1]["number"] if is_more else None)

    def waiting(self, owner: str | None = None) -> tuple[JobView, ...]:
        """Jobs that have not been started, in the order in which they will be."""
        whose, values = ("AND owner = ?", (owner,)) if owner is not None else ("", ())
        return self._views(
            self._database.rows(
                f"{JOBS} WHERE state IN ('queued', 'paused') {whose} {ordering.NEXT_FIRST}", *values
            )
        )

    def change(self, job_id: str, change: Change) -> JobView:
        """Change a job before it is started: all that is asked for, or nothing.

        Raises StateError if it was started, QueueFullError beyond the limits, FieldError as
        `submit`.
        """
        with self._database.writing() as connection:
            changing.apply(connection, job_id, change, self._clock())
            return job_view(connection, find_job(connection, job_id))

    def edit(self, job_id: str, job: AnyJob, *, cost: float | None = None) -> JobView:
        """Replace a job before it is started.  Raises as `change`."""
        return self.change(job_id, Change(job=job, cost=cost))

    def set_priority(self, job_id: str, priority: int) -> JobView:
        """Let a job come sooner (higher) or later.  Raises as `change`."""
        return self.change(job_id, Change(priority=priority))

    def move(self, job_id: str, *, before: str | None = None, after: str | None = None) -> JobView:
        """Put a job before or after another, whose priority it takes.

        Raises StateError if either was started, or if not exactly one other is named.
        """
        other = after if before is None else before
        if other is None or (before is not None and after is not None) or other == job_id:
            raise StateError("a job is moved before or after one other; name exactly one.")
        with self._database.writing() as connection:
            changing.waiting(connection, job_id, "moved")
            beside = changing.waiting(connection, other, "followed or preceded by another")
            place = ordering.place_beside(connection, job_id, beside, before=before is not None)
            return self._changed(
                connection, job_id, "moved", place=place, priority=beside["priority"]
            )

    def pause(self, job_id: str) -> JobView:
        """Hold a job back.  Raises as `change`."""
        return self.change(job_id, Change(paused=True))

    def resume(self, job_id: str) -> JobView:
        """Let a paused job go on waiting for its turn.  Raises StateError if it was started."""
        with self._database.writing() as connection:
            changing.waiting(connection, job_id, "resumed")
            changing.apply(connection, job_id, Change(paused=False), self._clock())
            return job_view(connection, find_job(connection, job_id))

    def cancel(self, job_id: str) -> JobView:
        """Take a job back; one that runs stops after the step it is at.

        Raises StateError if it has ended.
        """
        with self._database.writing() as connection:
            row = find_job(connection, job_id)
            if row["state"] in ENDED:
                raise StateError(f"the job is {row['state']}; there is nothing to cancel.")
            if row["state"] in WAITING:
                now = self._clock()
                return self._changed(
                    connection, job_id, "cancelled", state="cancelled", finished_at=now
                )
            if row["state"] == "cancelling":
                return job_view(connection, row)
            return self._changed(connection, job_id, "cancelling", state="cancelling")

    def retry(self, job_id: str, *, limits: SubmitLimits | None = None) -> JobView:
        """Let a job that failed or was cancelled begin anew.

        Raises StateError for any other, QueueFullError beyond the limits, FieldError if what it
        takes is not there any more.
        """
        with self._database.writing() as connection:
            row = find_job(connection, job_id)
            if row["state"] not in ("failed", "cancelled"):
                raise StateError(
                    f"the job is {row['state']}; only one that failed or was cancelled is retried."
                )
            if limits is not None:
                submitting.check_limits(connection, row["owner"], row["cost"], limits)
            submitting.check_inputs_of(connection, row)
            return self._changed(
                connection, job_id, "retried", state="queued", attempts=0, progress=0.0, message="",
                error=None, started_at=None, finished_at=None, not_before=0.0,
            )  # fmt: skip

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended; what it made stays.  Raises StateError for any other."""
        with self._database.writing() as connection:
            row = find_job(connection, job_id)
            if row["state"] not in ENDED:
                raise StateError(f"the job is {row['state']}; cancel it before it is deleted.")
            submitting.forget(connection, job_id, self._clock())

    def pause_all(self) -> QueueState:
        """Start no more jobs; those that run are finished."""
        return self._pause_queue(paused=True)

    def resume_all(self) -> QueueState:
        """Start jobs again."""
        return self._pause_queue(paused=False)

    def state(self) -> QueueState:
        """The queue as a whole."""
        rows = self._database.rows("SELECT state, COUNT(*) AS count FROM jobs GROUP BY state")
        paused = self._database.row("SELECT paused FROM queue")
        cost = self._database.row(
            "SELECT TOTAL(cost) AS cost FROM jobs "
            "WHERE state IN ('queued', 'paused', 'running', 'cancelling')"
        )
        assert paused is not None
        assert cost is not None
        return QueueState(
            paused=bool(paused["paused"]),
            counts=_NO_STATES | {row["state"]: row["count"] for row in rows},
            waiting_cost=cost["cost"],
            last_event=self.last_event(),
        )

    def preview(self, job_id: str) -> bytes | None:
        """The latest picture (PNG) of what a job seems to become, if there is one."""
        find_job(self._database.connection(), job_id)
        found = self._database.row("SELECT image FROM previews WHERE job_id = ?", job_id)
        return None if found is None else bytes(found["image"])

    def events(
        self, since: int = 0, *, job_id: str | None = None, limit: int = MAX_PAGE
    ) -> tuple[Event, ...]:
        """What happened after event number `since`, in order."""
        whose, values = ("AND job_id = ?", (job_id,)) if job_id is not None else ("", ())
        rows = self._database.rows(
            f"SELECT * FROM events WHERE number > ? {whose} ORDER BY number LIMIT ?",
            since, *values, limit,
        )  # fmt: skip
        return tuple(event_view(row) for row in rows)

    def last_event(self) -> int:
        """Number of the newest event, 0 if there was none."""
        found = self._database.row("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return 0 if found is None else int(found["seq"])

    def changes(self) -> tuple[int, int]:
        """Differs from what it was, in the same thread, if anything was written since."""
        connection = self._database.connection()
        [version] = connection.execute("PRAGMA data_version").fetchone()
        return int(version), connection.total_changes

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def _views(self, rows: Iterable[sqlite3.Row]) -> tuple[JobView, ...]:
        connection = self._database.connection()
        return tuple(job_view(connection, row) for row in rows)

    def _changed(
        self, connection: sqlite3.Connection, job_id: str, kind: str, **changes: Any
    ) -> JobView:
        changing.set_columns(connection, job_id, kind, self._clock(), **changes)
        return job_view(connection, find_job(connection, job_id))

    def _pause_queue(self, *, paused: bool) -> QueueState:
        with self._database.writing() as connection:
            [before] = connection.execute("SELECT paused FROM queue").fetchone()
            if bool(before) != paused:
                connection.execute("UPDATE queue SET paused = ?", (int(paused),))
                kind = "queue_paused" if paused else "queue_resumed"
                tell(connection, self._clock(), kind)
        return self.state()
