"""Jobs cut short, watched, killed and failed; and what they leave."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.doors import DRAW, in_folder, in_library

from stillmotion.jobs.context import Context, JobCancelledError, Output
from stillmotion.jobs.formats import file_name
from stillmotion.jobs.model import parse_job
from stillmotion.jobs.run import run_job
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.runner import JobRunner
from stillmotion.queueing.tasks import Task, WorkerSettings
from stillmotion.queueing.views import JobView
from stillmotion.queueing.worker import Worker


def by_queue(root: Path, runner: JobRunner, fields: dict[str, Any]) -> JobView:
    """How a job stands that a worker was given."""
    queue = JobQueue(root)
    job_id = queue.submit(parse_job(fields)).job.id
    Worker(root, runner, name="w").work(until_empty=True)
    return queue.get(job_id)


def test_frames_come_in_one_file(root: Path, runner: JobRunner, stills: list[str]) -> None:
    still = {"artifact": stills[0]}
    fields = {"kind": "animate", "still": still, "format": "frames", "frames": 2, "steps": 2}
    view = by_queue(root, runner, fields)
    assert view.state == "done", view
    packed, record = (Library(root).get(artifact) for artifact in view.artifacts)
    assert (packed.content_type, packed.num_frames) == ("application/zip", 2)
    assert (record.kind, record.main) == ("record", packed.id)


@pytest.mark.parametrize(
    "fields",
    [
        DRAW.fields,
        {"kind": "animate", "still": {"path": "still-1.png"}, "frames": 3},
        {"kind": "animate", "still": {"path": "still-1.png"}, "photograph": True, "frames": 3},
        {"kind": "loop", "still": {"path": "still-1.png"}, "method": "dynamicrafter", "steps": 3},
    ],
    ids=["draw", "animate", "photograph", "dynamicrafter"],
)
def test_a_job_is_cancelled_within_one_step(
    fields: dict[str, Any], here: Path, models: SharedModels, tmp_path: Path
) -> None:
    steps: list[int] = []
    job = parse_job(fields)
    context = Context(models=models, cancelled=lambda: len(steps) == 1)
    output = Output(path=tmp_path / file_name(job))
    with chdir(here), pytest.raises(JobCancelledError):
        run_job(job, output, context, lambda done, total: steps.append(done))
    assert steps == [1]
    assert in_folder(tmp_path) == {}


def test_why_a_job_failed_is_said_without_paths(
    root: Path, runner: JobRunner, stills: list[str]
) -> None:
    view = by_queue(root, runner, {"kind": "animate", "still": {"artifact": stills[0]}, "steps": 9})
    assert (view.state, view.attempts) == ("failed", 1)
    assert "'still-1.png' was drawn in 2 steps" in str(view.error)
    assert str(root) not in str(view.error)


def work(root: Path) -> None:
    """What the process of a worker does."""
    settings = WorkerSettings(lease_seconds=2, heartbeat_seconds=0.3)
    runner = JobRunner(root, "auto", settings)
    Worker(root, runner, name="w", settings=settings).work(until_empty=True)


def test_a_killed_worker_changes_no_byte(root: Path, here: Path) -> None:
    """In processes that have torch loaded already: the first is killed in mid-job."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "stillmotion.jobs.drawing_jobs"])
    queue = JobQueue(root)
    job_id = queue.submit(DRAW.job).job.id
    first = context.Process(target=work, args=(root,))
    first.start()
    wait(lambda: queue.get(job_id).progress > 0)
    first.kill()
    first.join()
    assert queue.get(job_id).state == "running"
    wait(lambda: Leases(root).reclaim() == 1)
    second = context.Process(target=work, args=(root,))
    second.start()
    second.join()
    view = queue.get(job_id)
    assert (view.state, view.attempts) == ("done", 2)
    assert in_library(root, job_id) == in_folder(here / "draw")


def test_previews_reach_who_watches(root: Path, runner: JobRunner, stills: list[str]) -> None:
    queue, seen = JobQueue(root), []
    still = {"artifact": stills[0]}
    queue.submit(parse_job({"kind": "animate", "still": still, "frames": 2, "steps": 2}))
    leases = Leases(root)
    claim = leases.claim("w")
    assert claim is not None
    task = Task(
        claim=claim, job=parse_job(claim.job), progress=lambda done, total: None,
        preview=seen.append, say=lambda text: None, cancelled=lambda: False,
    )  # fmt: skip
    leases.complete(claim, runner(task))
    assert len(seen) == 2
    assert all(picture.startswith(b"\x89PNG") for picture in seen)


def wait(reached: Callable[[], bool], seconds: float = 120.0) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)
