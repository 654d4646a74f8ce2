"""The worker's side of the queue: a job is claimed for a time, kept alive, and completed once.

A claim carries a lease, a word that only this attempt knows.  Whoever has lost it, because no
heartbeat came in time and the job went to another, can change nothing any more: neither the job
nor the library.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stillmotion.queueing.database import Database, tell
from stillmotion.queueing.ordering import NEXT_FIRST
from stillmotion.queueing.rows import find_job, job_view
from stillmotion.queueing.storing import Origin, keep_folder, publish, settle, work_folder
from stillmotion.queueing.submitting import tidy
from stillmotion.queueing.views import Claim, Clock, JobState, JobView, LeaseLostError, NewArtifact

LEASE_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 60.0


class Leases:
    """What workers do with the queue in a folder.  Raises as `JobQueue`."""

    def __init__(self, folder: Path, *, clock: Clock = time.time) -> None:
        self._database = Database(folder)
        self._clock = clock

    def claim(
        self,
        worker: str,
        *,
        lease_seconds: float = LEASE_SECONDS,
        kinds: Collection[str] | None = None,
    ) -> Claim | None:
        """The next job, now this worker's; None if there is none or the queue is paused.

        Jobs whose workers have stopped are taken back before.
        """
        root, now = self._database.folder, self._clock()
        if not self._is_worth_asking(now):
            return None
        with self._database.writing() as connection:
            _reclaim(connection, now, root)
            [paused] = connection.execute("SELECT paused FROM queue").fetchone()
            row = None if paused else _next(connection, now, kinds)
            if row is None:
                return None
            lease = uuid.uuid4().hex
            connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, lease_ends = ?, "
                "attempts = attempts + 1, started_at = ?, progress = 0, message = '', error = NULL "
                "WHERE id = ?",
                (worker, lease, now + lease_seconds, now, row["id"]),
            )
            attempt = row["attempts"] + 1
            tell(connection, now, "started", row["id"], {"worker": worker, "attempt": attempt})
        claim = Claim(
            job_id=row["id"], lease=lease, job=json.loads(row["job"]), attempt=attempt,
            owner=row["owner"], folder=work_folder(root, row["id"], lease),
            keep=keep_folder(root, row["id"]),
        )  # fmt: skip
        claim.folder.mkdir(parents=True)
        return claim

    def heartbeat(
        self,
        claim: Claim,
        *,
        lease_seconds: float = LEASE_SECONDS,
        progress: float | None = None,
        message: str | None = None,
        preview: bytes | None = None,
    ) -> None:
        """Keep the lease, and say how far the job is (0 to 1).  Raises LeaseLostError."""
        now = self._clock()
        with self._database.writing() as connection:
            row = _held(connection, claim)
            done = row["progress"] if progress is None else min(max(progress, 0.0), 1.0)
            words = row["message"] if message is None else message
            connection.execute(
                "UPDATE jobs SET lease_ends = ?, progress = ?, message = ? WHERE id = ?",
                (now + lease_seconds, done, words, claim.job_id),
            )
            if (done, words) != (row["progress"], row["message"]):
                told = {"progress": done, "message": words}
                tell(connection, now, "progress", claim.job_id, told)
            if preview is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO previews VALUES (?, ?)", (claim.job_id, preview)
                )
                tell(connection, now, "preview", claim.job_id)

    def is_cancelled(self, claim: Claim) -> bool:
        """Whether someone asked that it be stopped, or it is not this worker's any more."""
        row = self._database.row("SELECT state, lease FROM jobs WHERE id = ?", claim.job_id)
        return row is None or row["lease"] != claim.lease or row["state"] != "running"

    def complete(self, claim: Claim, artifacts: Sequence[NewArtifact]) -> JobView:
        """The files of the claim's folder become artifacts and the job is done: both, or neither.

        If it was cancelled meanwhile, it is cancelled, and the files are deleted.

        Raises:
            LeaseLostError: it is not this worker's any more; the files are deleted.
            OutputError: a file is not there.
        """
        stored = settle(claim.folder, artifacts)
        now = self._clock()
        try:
            with self._database.writing() as connection:
                row = _held(connection, claim)
                if row["state"] == "cancelling":
                    _end(connection, claim.job_id, "cancelled", now)
                else:
                    origin = Origin(row["owner"], claim.job_id, now)
                    made = publish(connection, self._database.folder, claim.folder, stored, origin)
                    connection.execute("UPDATE jobs SET progress = 1 WHERE id = ?", (claim.job_id,))
                    _end(connection, claim.job_id, "done", now, {"artifacts": made})
                view = job_view(connection, find_job(connection, claim.job_id))
        finally:
            # Renamed away if all went well.
            shutil.rmtree(claim.folder, ignore_errors=True)
        shutil.rmtree(claim.keep, ignore_errors=True)
        return view

    def fail(self, claim: Claim, error: str, *, retryable: bool) -> JobView:
        """The job could not be made; if that may pass, it is tried again, a while later.

        Raises LeaseLostError.
        """
        now = self._clock()
        with self._database.writing() as connection:
            row = _held(connection, claim)
            if row["state"] == "cancelling":
                _end(connection, claim.job_id, "cancelled", now)
            elif retryable and row["attempts"] < row["max_attempts"]:
                wait = min(_LONGEST_WAIT_SECONDS, 2.0 ** row["attempts"])
                _requeue(connection, claim.job_id, now, now + wait, error)
            else:
                _fail(connection, claim.job_id, now, error)
            view = job_view(connection, find_job(connection, claim.job_id))
        self._clear(claim, view)
        return view

    def cancelled(self, claim: Claim) -> JobView:
        """The job was stopped because someone asked for it.  Raises LeaseLostError."""
        now = self._clock()
        with self._database.writing() as connection:
            _held(connection, claim)
            _end(connection, claim.job_id, "cancelled", now)
            view = job_view(connection, find_job(connection, claim.job_id))
        self._clear(claim, view)
        return view

    def release(self, claim: Claim) -> JobView:
        """The worker is to stop: back to the queue, as if it had not been begun.

        Raises LeaseLostError.
        """
        now = self._clock()
        with self._database.writing() as connection:
            row = _held(connection, claim)
            if row["state"] == "cancelling":
                _end(connection, claim.job_id, "cancelled", now)
            else:
                connection.execute(
                    "UPDATE jobs SET attempts = attempts - 1 WHERE id = ?", (claim.job_id,)
                )
                _requeue(connection, claim.job_id, now, now, None)
            view = job_view(connection, find_job(connection, claim.job_id))
        self._clear(claim, view)
        return view

    def reclaim(self) -> int:
        """Take back the jobs of workers that have stopped; how many they are."""
        with self._database.writing() as connection:
            return _reclaim(connection, self._clock(), self._database.folder)

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def _is_worth_asking(self, now: float) -> bool:
        """Looked at without the lock, which idle workers would take from the others."""
        row = self._database.row(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'queued') OR "
            "EXISTS (SELECT 1 FROM jobs WHERE lease IS NOT NULL AND lease_ends < ?) AS found",
            now,
        )
        return row is not None and bool(row["found"])

    @staticmethod
    def _clear(claim: Claim, view: JobView) -> None:
        shutil.rmtree(claim.folder, ignore_errors=True)
        if view.state in ("cancelled", "failed"):
            shutil.rmtree(claim.keep, ignore_errors=True)


def _next(
    connection: sqlite3.Connection, now: float, kinds: Collection[str] | None
) -> sqlite3.Row | None:
    chosen = "" if kinds is None else f"AND kind IN ({', '.join('?' * len(kinds))})"
    found: sqlite3.Row | None = connection.execute(
        f"SELECT * FROM jobs WHERE state = 'queued' AND not_before <= ? {chosen} {NEXT_FIRST} "
        "LIMIT 1",
        (now, *(kinds or ())),
    ).fetchone()
    return found


def _held(connection: sqlite3.Connection, claim: Claim) -> sqlite3.Row:
    """The job's row.  Raises LeaseLostError unless the claim's lease still holds."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM jobs WHERE id = ? AND lease = ?", (claim.job_id, claim.lease)
    ).fetchone()
    if row is None:
        raise LeaseLostError(f"the job {claim.job_id} was given to another worker")
    return row


def _reclaim(connection: sqlite3.Connection, now: float, root: Path) -> int:
    rows = connection.execute(
        "SELECT * FROM jobs WHERE lease IS NOT NULL AND lease_ends < ?", (now,)
    ).fetchall()
    for row in rows:
        if row["state"] == "cancelling":
            _end(connection, row["id"], "cancelled", now)
        elif row["attempts"] < row["max_attempts"]:
            why = f"its worker ({row['worker']}) stopped without a word"
            _requeue(connection, row["id"], now, now, why)
        else:
            times = "once" if row["attempts"] == 1 else f"{row['attempts']} times"
            _fail(
                connection, row["id"], now,
                f"its worker stopped without a word {times}, most likely because memory ran out "
                "or the process was killed; try fewer frames, a smaller size, or another memory "
                "plan.",
            )  # fmt: skip
        shutil.rmtree(work_folder(root, row["id"], row["lease"]), ignore_errors=True)
    return len(rows)


def _requeue(
    connection: sqlite3.Connection, job_id: str, now: float, not_before: float, error: str | None
) -> None:
    connection.execute(
        "UPDATE jobs SET state = 'queued', lease = NULL, lease_ends = NULL, worker = NULL, "
        "progress = 0, message = '', not_before = ?, started_at = NULL WHERE id = ?",
        (not_before, job_id),
    )
    connection.execute("DELETE FROM previews WHERE job_id = ?", (job_id,))
    tell(connection, now, "requeued", job_id, {"error": error} if error is not None else {})


def _fail(connection: sqlite3.Connection, job_id: str, now: float, error: str) -> None:
    connection.execute("UPDATE jobs SET error = ? WHERE id = ?", (error, job_id))
    _end(connection, job_id, "failed", now, {"error": error})


def _end(
    connection: sqlite3.Connection,
    job_id: str,
    state: JobState,
    now: float,
    data: dict[str, Any] | None = None,
) -> None:
    connection.execute(
        "UPDATE jobs SET state = ?, lease = NULL, lease_ends = NULL, worker = NULL, "
        "finished_at = ? WHERE id = ?",
        (state, now, job_id),
    )
    tidy(connection, job_id)
    tell(connection, now, state, job_id, data)
