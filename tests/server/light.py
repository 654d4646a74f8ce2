"""A runner that costs nothing: it writes one file in several steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from stillmotion.jobs.context import JobCancelledError
from stillmotion.queueing.tasks import Runner, Task, WorkerSettings
from stillmotion.queueing.views import NewArtifact

STEPS = 8


class LightRunner:
    """Each job takes `seconds`; what it writes depends on its seed alone."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, task: Task) -> Sequence[NewArtifact]:
        seed = getattr(task.job, "seed", 0)
        with (task.claim.folder / "still.png").open("wb") as stream:
            for step in range(STEPS):
                if task.cancelled():
                    raise JobCancelledError
                stream.write(f"{seed} {step}\n".encode())
                stream.flush()
                task.progress(step + 1, STEPS)
                time.sleep(self._seconds / STEPS)
        return [NewArtifact(file="still.png", kind="still", content_type="image/png")]


def content_of(seed: int) -> bytes:
    """What the light runner makes of a seed."""
    return b"".join(f"{seed} {step}\n".encode() for step in range(STEPS))


def light_runner(folder: Path, device: str, settings: WorkerSettings) -> Runner:
    """A `RunnerFactory`."""
    return LightRunner(1.0)
