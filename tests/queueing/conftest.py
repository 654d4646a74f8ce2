"""A queue in an empty folder, and a clock that stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue


class Time:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drawing(seed: int = 1, **fields: Any) -> AnyJob:
    """A job for the light runner."""
    return parse_job({"kind": "draw", "prompt": "a red balloon", "seed": seed, **fields})


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def queue(tmp_path: Path, clock: Time) -> JobQueue:
    return JobQueue(tmp_path / "library", clock=clock)


@pytest.fixture
def leases(tmp_path: Path, clock: Time) -> Leases:
    return Leases(tmp_path / "library", clock=clock)


@pytest.fixture
def library(tmp_path: Path, clock: Time) -> Library:
    return Library(tmp_path / "library", clock=clock)
