"""Jobs submitted, followed, ordered, paused, cancelled and retried."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from tests.queueing.conftest import Time, drawing

from stillmotion.errors import InputError
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import parse_job
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.queueing.views import (
    IdempotencyError,
    NoSuchJobError,
    QueueFullError,
    StateError,
)


def submit(queue: JobQueue, count: int, **options: int) -> list[str]:
    return [queue.submit(drawing(seed), **options).job.id for seed in range(count)]


def order(queue: JobQueue) -> list[str]:
    return [job.id for job in queue.waiting()]


def test_a_job_is_found_as_it_was_submitted(queue: JobQueue, tmp_path: Path) -> None:
    made = queue.submit(drawing(5, steps=3), owner="ann", priority=2, cost=7.5)
    assert made.is_new
    again = JobQueue(tmp_path / "library").get(made.job.id)
    assert parse_job(again.job) == drawing(5, steps=3)
    assert (again.state, again.owner, again.priority, again.cost) == ("queued", "ann", 2, 7.5)
    assert (again.created_at, again.attempts, again.artifacts) == (1000.0, 0, ())


@pytest.mark.parametrize("unknown", ["0" * 32, "", "../x", "' OR 1=1 --"])
def test_ids_that_are_none(queue: JobQueue, unknown: str) -> None:
    submit(queue, 1)
    for ask in (queue.get, queue.cancel, queue.retry, queue.delete, queue.preview, queue.pause):
        with pytest.raises(NoSuchJobError):
            ask(unknown)


def test_a_job_without_a_seed_gets_one(queue: JobQueue) -> None:
    job = parse_job({"kind": "draw", "prompt": "a"})
    first, second = (queue.submit(job).job.job["seed"] for _ in range(2))
    assert first != second


def test_lists_have_pages_and_filters(queue: JobQueue) -> None:
    ids = submit(queue, 5)
    queue.submit(drawing(9), owner="ann")
    queue.cancel(ids[1])
    page = queue.list(owner="", limit=2)
    assert [job.id for job in page.jobs] == [ids[4], ids[3]]
    page = queue.list(owner="", limit=2, before=page.next)
    assert [job.id for job in page.jobs] == [ids[2], ids[1]]
    page = queue.list(owner="", limit=2, before=page.next)
    assert ([job.id for job in page.jobs], page.next) == ([ids[0]], None)
    assert [job.id for job in queue.list(states=["cancelled"]).jobs] == [ids[1]]
    assert len(queue.list(states=["queued", "cancelled"]).jobs) == 6
    assert len(queue.list(states=[]).jobs) == 0
    assert len(queue.list(owner="ann").jobs) == 1
    assert len(queue.list(kind="animate").jobs) == 0


def test_priority_first_then_place(queue: JobQueue, leases: Leases) -> None:
    first, second = submit(queue, 2)
    [urgent] = submit(queue, 1, priority=1)
    assert order(queue) == [urgent, first, second]
    queue.set_priority(second, 5)
    assert order(queue) == [second, urgent, first]
    taken = [leases.claim("w") for _ in range(4)]
    assert [claim and claim.job_id for claim in taken] == [second, urgent, first, None]


def test_jobs_are_moved(queue: JobQueue) -> None:
    a, b, c, d = submit(queue, 4)
    queue.move(d, before=b)
    assert order(queue) == [a, d, b, c]
    queue.move(a, after=c)
    assert order(queue) == [d, b, c, a]
    queue.move(a, before=d)
    assert order(queue) == [a, d, b, c]
    [e] = submit(queue, 1)
    assert order(queue) == [a, d, b, c, e]
    queue.move(b, after=e)
    [f] = submit(queue, 1)
    assert order(queue) == [a, d, c, e, b, f]
    [g] = submit(queue, 1, priority=3)
    queue.move(f, before=g)
    assert order(queue) == [f, g, a, d, c, e, b]
    for wrong in ({}, {"before": a, "after": b}, {"before": f}):
        with pytest.raises(StateError):
            queue.move(f, **wrong)


def test_jobs_are_moved_as_often_as_one_likes(queue: JobQueue) -> None:
    a, b, c = submit(queue, 3)
    for _ in range(200):  # halves run out after about fifty
        queue.move(c, before=b)
        assert order(queue) == [a, c, b]
        b, c = c, b


def test_a_job_is_edited_before_it_is_started(queue: JobQueue, leases: Leases) -> None:
    [job_id] = submit(queue, 1)
    assert queue.edit(job_id, drawing(8, steps=9)).job["steps"] == 9
    queue.pause(job_id)
    queue.edit(job_id, drawing(7), cost=2.0)
    queue.resume(job_id)
    claim = leases.claim("w")
    assert claim is not None
    assert (claim.job["seed"], queue.get(job_id).cost) == (7, 2.0)
    for refused in (
        lambda: queue.edit(job_id, drawing(6)),
        lambda: queue.set_priority(job_id, 1),
        lambda: queue.pause(job_id),
        lambda: queue.resume(job_id),
        lambda: queue.retry(job_id),
        lambda: queue.delete(job_id),
    ):
        with pytest.raises(StateError, match="the job is running"):
            refused()


def test_paused_jobs_and_queues_wait(queue: JobQueue, leases: Leases) -> None:
    first, second = submit(queue, 2)
    queue.pause(first)
    assert queue.pause_all().paused
    assert leases.claim("w") is None
    assert not queue.resume_all().paused
    claim = leases.claim("w")
    assert claim is not None
    assert claim.job_id == second
    assert leases.claim("w") is None
    queue.resume(first)
    assert leases.claim("w") is not None


def test_cancelled_and_retried(queue: JobQueue, leases: Leases) -> None:
    first, second = submit(queue, 2)
    assert queue.cancel(first).state == "cancelled"
    claim = leases.claim("w")
    assert claim is not None
    assert not leases.is_cancelled(claim)
    assert queue.cancel(second).state == "cancelling"
    assert queue.cancel(second).state == "cancelling"
    assert leases.is_cancelled(claim)
    assert leases.cancelled(claim).state == "cancelled"
    with pytest.raises(StateError, match="nothing to cancel"):
        queue.cancel(second)
    assert queue.retry(second).state == "queued"
    assert queue.get(second).attempts == 0


def test_an_idempotency_key_is_for_one_job(queue: JobQueue) -> None:
    job = parse_job({"kind": "draw", "prompt": "a"})
    first = queue.submit(job, owner="ann", idempotency_key="k")
    second = queue.submit(job, owner="ann", idempotency_key="k")
    assert (second.is_new, second.job.id) == (False, first.job.id)
    assert queue.submit(job, owner="bob", idempotency_key="k").is_new
    with pytest.raises(IdempotencyError):
        queue.submit(drawing(3), owner="ann", idempotency_key="k")


def test_limits(queue: JobQueue) -> None:
    limits = SubmitLimits(max_waiting=3, max_waiting_of_owner=2, max_cost_of_owner=10)
    queue.submit(drawing(), owner="ann", cost=6, limits=limits)
    with pytest.raises(QueueFullError, match="cost 6, with this one 11"):
        queue.submit(drawing(), owner="ann", cost=5, limits=limits)
    queue.submit(drawing(), owner="ann", cost=4, limits=limits)
    with pytest.raises(QueueFullError, match="2 of your jobs"):
        queue.submit(drawing(), owner="ann", limits=limits)
    third = queue.submit(drawing(), owner="bob", limits=limits)
    with pytest.raises(QueueFullError, match="3 jobs wait or run"):
        queue.submit(drawing(), owner="cat", limits=limits)
    queue.cancel(third.job.id)
    assert queue.submit(drawing(), owner="cat", limits=limits).is_new


def test_what_is_not_in_the_library_cannot_be_taken(queue: JobQueue) -> None:
    job = parse_job({"kind": "animate", "still": {"artifact": "a" * 32}})
    with pytest.raises(FieldError, match="no such artifact") as caught:
        queue.submit(job)
    assert caught.value.field == "still"
    assert queue.list().jobs == ()


def test_events_tell_what_happened_in_order(queue: JobQueue, leases: Leases, clock: Time) -> None:
    first, second = submit(queue, 2)
    claim = leases.claim("w")
    assert claim is not None
    leases.heartbeat(claim, progress=0.5, message="half", preview=b"png")
    leases.heartbeat(claim, progress=0.5)  # nothing new
    told = queue.events(job_id=first)
    assert [event.kind for event in told] == ["queued", "started", "progress", "preview"]
    assert told[2].data == {"progress": 0.5, "message": "half"}
    assert queue.preview(first) == b"png"
    assert queue.get(first).has_preview
    leases.fail(claim, "it broke", retryable=False)
    assert [event.kind for event in queue.events(job_id=first)] == ["queued", "started", "failed"]
    assert queue.preview(first) is None
    numbers = [event.number for event in queue.events()]
    assert numbers == sorted(set(numbers))
    assert queue.last_event() == numbers[-1]
    assert queue.events(since=numbers[-2])[0].data == {"error": "it broke"}
    queue.delete(first)
    assert queue.events(since=numbers[-1])[0].kind == "deleted"
    queue.pause_all()
    queue.pause_all()
    assert [event.kind for event in queue.events(since=numbers[-1])] == ["deleted", "queue_paused"]
    state = queue.state()
    assert (state.paused, state.counts["queued"], state.counts["failed"]) == (True, 1, 0)
    assert queue.get(second).state == "queued"


def test_changes_are_seen_from_other_connections(queue: JobQueue, tmp_path: Path) -> None:
    before = queue.changes()
    assert queue.changes() == before
    submit(JobQueue(tmp_path / "library"), 1)
    after = queue.changes()
    assert after != before
    submit(queue, 1)
    assert queue.changes() != after


def test_tables_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    JobQueue(folder).close()
    with sqlite3.connect(folder / "queue.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="a newer version of stillmotion"):
        JobQueue(folder)
