"""Workers, and the process that submits, killed at random moments: nothing lost, nothing twice."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess as Victim
from pathlib import Path
from typing import Any

import pytest
from tests.queueing import light
from tests.queueing.conftest import drawing
from tests.queueing.light import content
from tests.queueing.test_leases import LATENTS, STILL, write

from stillmotion.queueing import leases as leases_module
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.pool import WorkerPool
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.tasks import WorkerSettings
from stillmotion.queueing.worker import Worker

REPOSITORY = Path(__file__).parents[2]
SETTINGS = WorkerSettings(lease_seconds=0.6, heartbeat_seconds=0.15, poll_seconds=0.02)
STEPS = 4


def work(folder: Path, name: str) -> None:
    """What a worker's process does."""
    Worker(folder, light.run, name=name, settings=SETTINGS).work()


def hand_in(folder: Path, count: int) -> None:
    """What the submitter's process does; begun again it hands in only what is missing."""
    queue = JobQueue(folder)
    for seed in range(count):
        job = drawing(seed, steps=STEPS, guidance=0.02)
        if queue.submit(job, idempotency_key=f"job {seed}", max_attempts=50).is_new:
            time.sleep(0.05)


def fork(target: Callable[..., None], *arguments: object) -> Victim:
    """A process that starts in a moment, since its parent has everything loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def slay(process: Victim) -> None:
    process.kill()
    process.join()


def check_all_done(folder: Path, count: int) -> None:
    """Every job has ended well, once, with whole files; and nothing else is there."""
    queue, library = JobQueue(folder), Library(folder)
    jobs = queue.list(limit=500).jobs
    assert sorted(job.job["seed"] for job in jobs) == list(range(count))
    assert {job.state for job in jobs} == {"done"}
    events = [event for job in jobs for event in queue.events(job_id=job.id)]
    assert sum(event.kind == "done" for event in events) == count
    for job in jobs:
        still, record = (library.get(artifact) for artifact in job.artifacts)
        written = content(job.job["seed"], STEPS)
        assert library.path(still.id).read_bytes() == written
        assert still.sha256 == hashlib.sha256(written).hexdigest()
        assert record.main == still.id
    library.sweep()
    files = [path for path in folder.rglob("*") if path.is_file()]
    mine = [path for path in files if not path.name.startswith("queue.sqlite")]
    assert len(mine) == 2 * count


def run_and_kill(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """How many workers and submitters were killed."""
    chance = random.Random(seed)
    queue = JobQueue(folder)
    submitter = fork(hand_in, folder, count)
    workers = [fork(work, folder, f"w{number}") for number in range(2)]
    killed = [0, 0]
    end = time.monotonic() + 45
    try:
        while queue.state().counts["done"] < count:
            assert time.monotonic() < end, queue.state()
            time.sleep(chance.uniform(0.01, 0.3))
            if submitter.is_alive() and killed[1] < count // 5 and chance.random() < 0.3:
                slay(submitter)
                killed[1] += 1
            if not submitter.is_alive() and submitter.exitcode != 0:
                submitter = fork(hand_in, folder, count)
            # Killed only while something is made, so that a kill can do harm.
            if queue.state().counts["running"] and chance.random() < 0.5:
                number = chance.randrange(len(workers))
                slay(workers[number])
                killed[0] += 1
                workers[number] = fork(work, folder, f"w{number}-{killed[0]}")
    finally:
        for process in (submitter, *workers):
            slay(process)
    return killed[0], killed[1]


def test_nothing_is_lost_and_nothing_made_twice(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    workers, submitters = run_and_kill(folder, 30, seed=1)
    assert workers >= 5
    assert submitters >= 1
    check_all_done(folder, 30)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_nothing_is_lost_in_many_runs(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "library"
    workers, submitters = run_and_kill(folder, 40, seed)
    assert workers >= 5
    assert submitters >= 1
    check_all_done(folder, 40)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(function: Callable[..., Any]) -> Callable[..., None]:
    def wrapped(*arguments: Any, **options: Any) -> None:
        function(*arguments, **options)
        die()

    return wrapped


def complete_and_die(folder: Path, moment: str) -> None:
    """In a process of its own: complete a job, and be killed at some moment of that."""
    held = Leases(folder)
    claim = held.claim("w", lease_seconds=0.2)
    assert claim is not None
    write(claim)
    (claim.folder / "scrap").rmdir()
    patch = pytest.MonkeyPatch()
    if moment == "while settling":
        patch.setattr(os, "fsync", die)
    elif moment == "before renaming":
        patch.setattr(os, "rename", die)
    elif moment == "after renaming":
        patch.setattr(os, "rename", die_after(os.rename))
    elif moment == "before committing":
        patch.setattr(leases_module, "job_view", die)
    elif moment == "after committing":
        patch.setattr(shutil, "rmtree", die)
    held.complete(claim, [STILL, LATENTS])


@pytest.mark.parametrize(
    "moment",
    ["while settling", "before renaming", "after renaming", "before committing",
     "after committing"],
)  # fmt: skip
def test_killed_at_every_moment_of_completing(tmp_path: Path, moment: str) -> None:
    """Files and rows change together in a few moments; here each of them is hit."""
    folder = tmp_path / "library"
    queue, library = JobQueue(folder), Library(folder)
    job_id = queue.submit(drawing(), max_attempts=2).job.id
    victim = fork(complete_and_die, folder, moment)
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    is_done = moment == "after committing"
    assert (queue.get(job_id).state == "done") == is_done
    time.sleep(0.25)
    assert (Leases(folder).claim("again") is None) == is_done
    library.sweep()
    left = [path.name for path in (folder / "files").rglob("*") if path.is_file()]
    assert len(left) == (2 if is_done else 0)
    assert len(library.list(mains_only=False).artifacts) == len(left)


@pytest.mark.parametrize("drain", [0.0, 10.0])
def test_a_pool_replaces_the_dead_and_stops_in_peace(tmp_path: Path, drain: float) -> None:
    folder = tmp_path / "library"
    queue = JobQueue(folder)
    pool = WorkerPool(folder, settings=SETTINGS, runner=light.light_runner)
    pool.start()
    try:
        first = queue.submit(drawing(1, steps=3, guidance=0.4), max_attempts=5).job.id
        wait(lambda: queue.get(first).progress > 0)
        assert queue.preview(first) == b"step 0"
        [worker] = pool.pids()
        os.kill(worker, signal.SIGKILL)
        wait(lambda: queue.get(first).state == "done")
        assert queue.get(first).attempts == 2
        assert pool.pids() != (worker,)
        second = queue.submit(drawing(2, steps=5, guidance=0.3)).job.id
        wait(lambda: queue.get(second).state == "running")
    finally:
        pool.stop(drain)
    assert pool.alive() == 0
    after = queue.get(second)
    # Finished if there was time; else given back, as if it had not been begun.
    assert (after.state, after.attempts) == (("done", 1) if drain else ("queued", 0))


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    queue = JobQueue(folder)
    job_id = queue.submit(drawing(1, steps=40, guidance=0.2)).job.id
    code = """
import sys, time
from pathlib import Path
from stillmotion.queueing.pool import WorkerPool
from tests.queueing.light import light_runner
from tests.queueing.test_killing import SETTINGS
if __name__ == "__main__":
    pool = WorkerPool(Path(sys.argv[1]), settings=SETTINGS, runner=light_runner)
    pool.start()
    print(*pool.pids(), flush=True)
    time.sleep(60)
"""
    script = tmp_path / "server.py"
    script.write_text(code)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}:{REPOSITORY}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    wait(lambda: queue.get(job_id).state == "running")
    parent.kill()
    parent.communicate()
    wait(lambda: not Path(f"/proc/{worker}").exists() or not is_running(worker))
    after = queue.get(job_id)
    assert (after.state, after.attempts) == ("queued", 0)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


def wait(reached: object, seconds: float = 40.0) -> None:
    """Until something is so."""
    assert callable(reached)
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)
