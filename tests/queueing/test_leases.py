"""Jobs claimed, kept alive, completed once, and taken back from workers that stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.queueing.conftest import Time, drawing

from stillmotion.errors import OutputError
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.views import Claim, LeaseLostError, NewArtifact

STILL = NewArtifact(file="still.png", kind="still", content_type="image/png")
LATENTS = NewArtifact(
    file="still.latents.safetensors", kind="latents", content_type="application/octet-stream",
    main="still.png",
)  # fmt: skip


def claimed(queue: JobQueue, leases: Leases) -> Claim:
    queue.submit(drawing())
    claim = leases.claim("w", lease_seconds=10)
    assert claim is not None
    return claim


def write(claim: Claim, still: bytes = b"still") -> None:
    (claim.folder / "still.png").write_bytes(still)
    (claim.folder / "still.latents.safetensors").write_bytes(b"latents")
    (claim.folder / "scrap").mkdir()


def files(root: Path) -> list[str]:
    return sorted(
        path.name for path in root.rglob("*") if path.is_file() and "queue" not in path.name
    )


def test_files_become_artifacts_when_the_job_is_done(
    queue: JobQueue, leases: Leases, library: Library, tmp_path: Path
) -> None:
    claim = claimed(queue, leases)
    write(claim)
    view = leases.complete(claim, [STILL, LATENTS])
    assert (view.state, view.progress, view.finished_at) == ("done", 1.0, 1000.0)
    still, latents = (library.get(artifact) for artifact in view.artifacts)
    assert library.path(still.id).read_bytes() == b"still"
    assert (still.size, still.job_id, still.main) == (5, claim.job_id, None)
    assert (latents.kind, latents.main) == ("latents", still.id)
    # A still's latents are found beside it.
    assert library.path(latents.id).parent == library.path(still.id).parent
    assert files(tmp_path) == ["still.latents.safetensors", "still.png"]
    assert queue.events(job_id=claim.job_id)[-1].data == {"artifacts": [still.id, latents.id]}
    with pytest.raises(LeaseLostError):
        leases.heartbeat(claim)


def test_a_job_whose_files_are_missing_is_not_done(queue: JobQueue, leases: Leases) -> None:
    claim = claimed(queue, leases)
    with pytest.raises(OutputError, match=r"did not write 'still\.png'"):
        leases.complete(claim, [STILL])
    assert queue.get(claim.job_id).state == "running"


def test_whoever_lost_the_lease_can_change_nothing(
    queue: JobQueue, leases: Leases, library: Library, clock: Time, tmp_path: Path
) -> None:
    late = claimed(queue, leases)
    write(late)
    clock.now += 11
    in_time = leases.claim("other", lease_seconds=10)
    assert in_time is not None
    assert (in_time.job_id, in_time.attempt) == (late.job_id, 2)
    assert leases.is_cancelled(late)
    assert not leases.is_cancelled(in_time)
    late.folder.mkdir(exist_ok=True)  # it was deleted; the late one goes on all the same
    write(late, b"of the late one")
    for refused in (
        lambda: leases.complete(late, [STILL]),
        lambda: leases.heartbeat(late, progress=0.9),
        lambda: leases.fail(late, "x", retryable=False),
        lambda: leases.cancelled(late),
        lambda: leases.release(late),
    ):
        with pytest.raises(LeaseLostError):
            refused()
    write(in_time)
    view = leases.complete(in_time, [STILL])
    assert library.path(view.artifacts[0]).read_bytes() == b"still"
    assert files(tmp_path) == ["still.png"]
    assert queue.get(late.job_id).state == "done"


def test_heartbeats_keep_a_lease(queue: JobQueue, leases: Leases, clock: Time) -> None:
    claim = claimed(queue, leases)
    for _ in range(5):
        clock.now += 8
        leases.heartbeat(claim, lease_seconds=10)
        assert leases.claim("other") is None
    # Late, but before anyone took the job back.
    clock.now += 100
    leases.heartbeat(claim, lease_seconds=10)
    assert leases.claim("other") is None


def test_a_job_that_kills_its_workers_fails_in_the_end(
    queue: JobQueue, leases: Leases, clock: Time
) -> None:
    job_id = queue.submit(drawing(), max_attempts=3).job.id
    for attempt in (1, 2, 3):
        claim = leases.claim("w", lease_seconds=10)
        assert claim is not None
        assert claim.attempt == attempt
        assert queue.get(job_id).state == "running"
        clock.now += 11
    assert leases.reclaim() == 1
    assert leases.claim("w") is None
    view = queue.get(job_id)
    assert view.state == "failed"
    assert "stopped without a word 3 times" in str(view.error)
    queue.retry(job_id)
    assert leases.claim("w") is not None


def test_what_may_pass_is_tried_again_later(queue: JobQueue, leases: Leases, clock: Time) -> None:
    claim = claimed(queue, leases)
    claim.keep.mkdir()
    assert leases.fail(claim, "the disk is full", retryable=True).state == "queued"
    assert claim.keep.is_dir()
    assert not claim.folder.exists()
    assert leases.claim("w") is None
    clock.now += 3
    second = leases.claim("w")
    assert second is not None
    assert leases.fail(second, "no", retryable=False).error == "no"
    assert not claim.keep.exists()


def test_a_worker_that_stops_hands_its_job_back(queue: JobQueue, leases: Leases) -> None:
    claim = claimed(queue, leases)
    assert leases.release(claim).state == "queued"
    again = leases.claim("w")
    assert again is not None
    assert again.attempt == 1


def test_cancelling_wins(queue: JobQueue, leases: Leases, clock: Time, tmp_path: Path) -> None:
    for end in (
        lambda claim: leases.complete(claim, [STILL]),
        lambda claim: leases.fail(claim, "x", retryable=True),
        leases.release,
        leases.cancelled,
    ):
        claim = claimed(queue, leases)
        write(claim)
        queue.cancel(claim.job_id)
        assert end(claim).state == "cancelled"
        assert files(tmp_path) == []
    claim = claimed(queue, leases)
    queue.cancel(claim.job_id)
    clock.now += 11
    leases.reclaim()
    assert queue.get(claim.job_id).state == "cancelled"


def test_workers_can_choose_kinds(queue: JobQueue, leases: Leases) -> None:
    queue.submit(drawing())
    assert leases.claim("w", kinds=["animate", "loop"]) is None
    assert leases.claim("w", kinds=["draw"]) is not None
