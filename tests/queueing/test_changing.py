"""A job that waits is changed wholly or not at all, whatever else happens at that moment."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.queueing.conftest import drawing

from stillmotion.errors import InputError
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import parse_job
from stillmotion.queueing import submitting
from stillmotion.queueing.changing import Change
from stillmotion.queueing.database import FILE_NAME
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.queueing.views import QueueFullError, StateError


def look(queue: JobQueue, job_id: str) -> tuple[Any, ...]:
    job = queue.get(job_id)
    return job.job, job.cost, job.priority, job.state, queue.events(job_id=job_id)


def test_all_is_changed_at_once(queue: JobQueue) -> None:
    job_id = queue.submit(drawing(1), cost=5.0).job.id
    change = Change(job=drawing(2, steps=3), cost=7.0, priority=4, paused=True)
    job = queue.change(job_id, change)
    assert (job.job["seed"], job.cost, job.priority, job.state) == (2, 7.0, 4, "paused")
    kinds = [event.kind for event in queue.events(job_id=job_id)]
    assert kinds == ["queued", "edited", "moved", "paused"]
    assert queue.change(job_id, Change()) == job
    assert queue.change(job_id, Change(paused=True)) == job
    assert len(queue.events(job_id=job_id)) == 4


@pytest.mark.parametrize("column", ["priority", "state"])
def test_when_a_later_part_fails_nothing_is_changed(
    queue: JobQueue, tmp_path: Path, column: str
) -> None:
    """The disk, say, or a defect: here a trigger that lets the second or third part fail."""
    job_id = queue.submit(drawing(1), cost=5.0).job.id
    before = look(queue, job_id)
    with sqlite3.connect(tmp_path / "library" / FILE_NAME) as other:
        other.execute(
            f"CREATE TRIGGER fails BEFORE UPDATE OF {column} ON jobs "
            "BEGIN SELECT RAISE(ABORT, 'this part fails'); END"
        )
    with pytest.raises(sqlite3.IntegrityError, match="this part fails"):
        queue.change(job_id, Change(job=drawing(2), cost=7.0, priority=4, paused=True))
    assert look(queue, job_id) == before


def test_when_a_change_is_refused_nothing_is_changed(queue: JobQueue, leases: Leases) -> None:
    first, second = (queue.submit(drawing(n), cost=5.0).job.id for n in range(2))
    before = look(queue, first)
    limits = SubmitLimits(max_cost_of_owner=10.0)
    gone = parse_job({"kind": "animate", "still": {"artifact": "0" * 32}, "prompt": "a"})
    refused: list[tuple[type[InputError], Change]] = [
        (QueueFullError, Change(priority=3, job=drawing(9), cost=5.1, limits=limits)),
        (FieldError, Change(priority=3, job=gone)),
    ]
    for error, change in refused:
        with pytest.raises(error):
            queue.change(first, change)
        assert look(queue, first) == before
    queue.change(first, Change(job=drawing(9), cost=5.0, limits=limits))
    queue.cancel(second)
    queue.change(first, Change(job=drawing(9), cost=9.9, limits=limits))


def test_a_claim_waits_for_the_whole_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that asks between two parts of a change gets the job with both, or not at all."""
    folder = tmp_path / "library"
    queue = JobQueue(folder)
    job_id = queue.submit(drawing(1)).job.id
    claims: list[Any] = []
    worker = threading.Thread(target=lambda: claims.append(Leases(folder).claim("w")))
    plain = submitting.replace

    def replace(*arguments: Any) -> None:
        plain(*arguments)
        worker.start()
        worker.join(0.5)
        assert worker.is_alive(), "the job was claimed in the middle of the change"

    monkeypatch.setattr(submitting, "replace", replace)
    queue.change(job_id, Change(job=drawing(2), priority=4, paused=True))
    worker.join()
    assert claims == [None]
    assert queue.get(job_id).state == "paused"


def test_claims_and_changes_at_the_same_moment(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    queue, rounds = JobQueue(folder), 30
    start, end = threading.Barrier(2), threading.Barrier(2)
    claimed: list[int] = []

    def work() -> None:
        leases = Leases(folder)
        for _ in range(rounds):
            start.wait()
            claim = leases.claim("w", lease_seconds=600)
            claimed.append(claim.job["seed"] if claim is not None else 0)
            end.wait()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    for _ in range(rounds):
        job_id, is_new = queue.submit(drawing(1)).job.id, True
        start.wait()
        try:
            queue.change(job_id, Change(job=drawing(2), cost=2.0, priority=4))
        except StateError:
            is_new = False
        end.wait()
        job = queue.get(job_id)
        found = (claimed[-1], job.job["seed"], job.cost, job.priority)
        assert found == ((2, 2, 2.0, 4) if is_new else (1, 1, 0.0, 0))
        kinds = [event.kind for event in queue.events(job_id=job_id)]
        assert kinds == ["queued", *(["edited", "moved"] if is_new else []), "started"]


def test_a_retry_keeps_to_the_limits(queue: JobQueue) -> None:
    job_id = queue.submit(drawing(1), owner="ada", cost=5.0).job.id
    queue.cancel(job_id)
    for number in range(2):
        queue.submit(drawing(number), owner="ada", cost=3.0)
    for limits in (
        SubmitLimits(max_waiting=2),
        SubmitLimits(max_waiting_of_owner=2),
        SubmitLimits(max_cost_of_owner=10.0),
    ):
        with pytest.raises(QueueFullError):
            queue.retry(job_id, limits=limits)
    assert queue.get(job_id).state == "cancelled"
    assert queue.retry(job_id, limits=SubmitLimits(max_waiting=3)).state == "queued"
