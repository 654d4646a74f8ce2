"""A runner that writes files in several steps, and no model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from stillmotion.jobs.context import JobCancelledError
from stillmotion.jobs.model import DrawJob
from stillmotion.queueing.tasks import Runner, Task, WorkerSettings
from stillmotion.queueing.views import NewArtifact

BLOCK = 4096


def content(seed: int, steps: int) -> bytes:
    """What a job with this seed makes: as many blocks as it has steps."""
    return b"".join(f"{seed}-{step}.".encode().ljust(BLOCK, b".") for step in range(steps))


def run(task: Task) -> Sequence[NewArtifact]:
    """Write the content block by block, with a pause after each (`guidance` seconds)."""
    job = task.job
    assert isinstance(job, DrawJob)
    assert job.seed is not None
    steps, pause = job.steps or 1, job.guidance or 0.0
    written = content(job.seed, steps)
    with (task.claim.folder / "still.png").open("wb") as file:
        for step in range(steps):
            if task.cancelled():
                raise JobCancelledError("the job was cancelled")
            file.write(written[step * BLOCK : (step + 1) * BLOCK])
            file.flush()
            time.sleep(pause)
            task.progress(step + 1, steps)
            task.preview(f"step {step}".encode())
    (task.claim.folder / "still.png.json").write_text("{}")
    (task.claim.folder / "scrap").write_text("not wanted")
    return [
        NewArtifact(file="still.png", kind="still", content_type="image/png", width=8, height=8),
        NewArtifact(
            file="still.png.json", kind="record", content_type="application/json", main="still.png"
        ),
    ]


def light_runner(folder: Path, device: str, settings: WorkerSettings) -> Runner:
    """The factory that a pool takes."""
    return run
