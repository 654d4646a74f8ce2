"""What a worker gives to a runner, and how long things take in a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stillmotion.jobs.model import AnyJob
from stillmotion.queueing.views import Claim, NewArtifact


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How workers behave."""

    lease_seconds: float = 30.0
    """A worker that is silent for so long has lost its job."""
    heartbeat_seconds: float = 2.0
    poll_seconds: float = 0.2
    """How often an idle worker asks for a job."""
    download: bool = False
    """Whether models may be fetched from a hub."""
    max_bytes: int | None = None
    """What the library may hold."""
    threads: int | None = None
    """Of the CPU, for each worker; None: the cores are shared among them."""
    warm_up: str | None = None
    """A model that workers load when they start, so that the first job does not wait for it."""
    compiling: str = "off"
    """How networks are compiled, one of `CHOICES` in `runtime/compiling.py`: a worker compiles the
    first job of a kind, and makes the others with what it has."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A claimed job, and whom to tell."""

    claim: Claim
    """Results are written to its folder."""
    job: AnyJob
    progress: Callable[[int, int], None]
    """Told of the steps done and of all steps."""
    preview: Callable[[bytes], None]
    """Given a PNG, now and then."""
    say: Callable[[str], None]
    """Told what is worth knowing."""
    cancelled: Callable[[], bool]
    """Asked after every step; if true the runner raises JobCancelledError."""


Runner = Callable[[Task], Sequence[NewArtifact]]
"""Makes a job; returns what it wrote into the claim's folder."""


class RunnerFactory(Protocol):
    """Makes a runner inside a worker's process; is pickled on the way there."""

    def __call__(self, folder: Path, device: str, settings: WorkerSettings) -> Runner:
        """For the library in `folder` and a device."""
        ...
