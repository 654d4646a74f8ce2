"""Workers load a model when they start, and say when they take jobs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest
from tests.server.light import light_runner

from stillmotion.jobs.model import parse_job
from stillmotion.queueing.library import Library
from stillmotion.queueing.pool import WorkerPool
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.runner import JobRunner, job_runner
from stillmotion.queueing.tasks import WorkerSettings
from stillmotion.queueing.worker import Worker


def test_the_first_jobs_use_the_model_that_was_loaded_beforehand(tmp_path: Path) -> None:
    runner = job_runner(tmp_path, "cpu", WorkerSettings(warm_up="miniature"))
    assert isinstance(runner, JobRunner)
    [before] = runner._models._kept.values()
    queue = JobQueue(tmp_path)
    drawing = {"kind": "draw", "prompt": "a red balloon", "seed": 1, "steps": 1}
    drawn = queue.submit(parse_job(drawing | {"model": "miniature"})).job.id
    Worker(tmp_path, runner, name="w").work(until_empty=True)
    still = queue.get(drawn).artifacts[0]
    moving = {"kind": "animate", "still": {"artifact": still}, "seed": 1, "frames": 2}
    made = queue.submit(parse_job(moving)).job.id
    Worker(tmp_path, runner, name="w").work(until_empty=True)
    assert queue.get(made).state == "done"
    assert list(runner._models._kept.values()) == [before]
    assert Library(tmp_path).get(queue.get(made).artifacts[0]).num_frames == 2


def test_a_worker_compiles_if_it_is_told_to(tmp_path: Path) -> None:
    settings = WorkerSettings(warm_up="miniature", compiling="max-autotune")
    runner = job_runner(tmp_path, "cpu", settings)
    assert isinstance(runner, JobRunner)
    [model] = runner._models._kept.values()
    assert model.pipeline.compiling == "max-autotune"


def test_a_model_that_cannot_be_loaded_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        job_runner(tmp_path, "cpu", WorkerSettings(warm_up="no such model"))
    assert "'no such model' is not loaded beforehand" in caplog.text


def test_nothing_is_loaded_unless_it_is_asked_for(tmp_path: Path) -> None:
    runner = job_runner(tmp_path, "cpu", WorkerSettings())
    assert isinstance(runner, JobRunner)
    assert runner._models._kept == {}


def test_a_pool_tells_how_many_workers_take_jobs(tmp_path: Path) -> None:
    settings = WorkerSettings(warm_up="miniature")
    pool = WorkerPool(tmp_path, settings=settings, runner=light_runner)
    assert (pool.ready(), pool.warm_up) == (0, "miniature")
    pool.start()
    try:
        end = time.monotonic() + 60
        while not pool.ready() and time.monotonic() < end:
            time.sleep(0.05)
        assert (pool.ready(), pool.alive()) == (1, 1)
    finally:
        pool.stop()
    assert pool.ready() == 0
