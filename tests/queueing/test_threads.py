"""Workers share the cores, unless somebody says otherwise."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from tests.queueing.light import run

from stillmotion.errors import InputError
from stillmotion.queueing import pool
from stillmotion.queueing.pool import WorkerPool, threads_of_each
from stillmotion.queueing.tasks import Runner, WorkerSettings
from stillmotion.runtime.threads import THREADS_VARIABLE, WAITING_VARIABLE, use_threads


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (THREADS_VARIABLE, WAITING_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("cores", "workers", "each"),
    [(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 5, 1), (16, 1, 2), (16, 8, 2), (16, 9, 1), (4, 0, 2)],
)
def test_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, each: int
) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: cores)
    assert threads_of_each(workers) == each


def test_what_is_said_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 2)
    assert threads_of_each(2, 5) == 5
    with use_threads(3):  # as `stillmotion --threads 3 serve` does
        assert threads_of_each(2) == 3
        assert threads_of_each(2, 4) == 4
    with use_threads():  # as every command does: what was free for it is not what workers get
        assert threads_of_each(2) == 1
    monkeypatch.setenv(THREADS_VARIABLE, "7")
    assert threads_of_each(2) == 7
    with use_threads():
        assert threads_of_each(2) == 7
    for asked in (0, -1):
        with pytest.raises(InputError, match="from 1 up"):
            WorkerPool(Path("unused"), settings=WorkerSettings(threads=asked))


def telling_runner(folder: Path, device: str, settings: WorkerSettings) -> Runner:
    """A `RunnerFactory` that writes down what torch would be told."""
    said = [os.environ.get(name, "") for name in (THREADS_VARIABLE, WAITING_VARIABLE)]
    path = folder / f"said-{os.getpid()}"
    path.with_suffix(".new").write_text(f"{' '.join(said)} {'torch' in sys.modules}")
    path.with_suffix(".new").rename(path)
    return run


@pytest.mark.parametrize(("asked", "said"), [(None, "1"), (3, "3")])
def test_workers_compute_with_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, said: str
) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 2)
    workers = WorkerPool(
        tmp_path, devices=("cpu", "cpu"), settings=WorkerSettings(threads=asked),
        runner=telling_runner,
    )  # fmt: skip
    workers.start()
    try:
        end = time.monotonic() + 60
        while len(told := list(tmp_path.glob("said-*[0-9]"))) < 2:
            assert time.monotonic() < end, "the workers did not start"
            time.sleep(0.02)
    finally:
        workers.stop()
    # Said before torch asks.
    assert [path.read_text() for path in told] == [f"{said} PASSIVE False"] * 2
    assert THREADS_VARIABLE not in os.environ
