"""However a run is stopped, going on gives the weights of a run that never stopped, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tests.training.regression import KILLED_STEPS, Regression, settings
from torch import Tensor

from stillmotion.training.checkpoint import load_checkpoint
from stillmotion.training.loop import train

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = "regression.checkpoint"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Tensor]:
    stage = Regression()
    train(stage, settings(), tmp_path_factory.mktemp("uninterrupted"))
    return stage.copies()


def equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(map(torch.equal, found, expected))


def at(step: int, action: Callable[[], object]) -> Callable[[int], None]:
    """Do something in the middle of one step."""

    def before(computed: int) -> None:
        if computed == step:
            action()

    return before


def saved_step(folder: Path) -> int | None:
    state = load_checkpoint(folder / CHECKPOINT)
    return None if state is None else int(state["step"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [0, 17, 39])
def test_an_interrupt_ends_after_the_step_and_loses_nothing(
    tmp_path: Path, uninterrupted: list[Tensor], number: signal.Signals, step: int
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stage = Regression(before=at(step, lambda: signal.raise_signal(number)))
    with pytest.raises(KeyboardInterrupt):
        train(stage, settings(), tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert saved_step(tmp_path) == step + 1

    resumed = Regression()
    assert train(resumed, settings(), tmp_path) == 40
    assert resumed.computed == 40 - (step + 1)
    assert equal(resumed.copies(), uninterrupted)


def test_a_run_stopped_many_times_is_the_same_run(
    tmp_path: Path, uninterrupted: list[Tensor]
) -> None:
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            train(
                Regression(before=at(7, lambda: signal.raise_signal(signal.SIGTERM))),
                settings(),
                tmp_path,
            )
    resumed = Regression()
    train(resumed, settings(), tmp_path)
    assert resumed.computed == 8
    assert equal(resumed.copies(), uninterrupted)


def test_a_second_interrupt_does_not_wait_and_saves_no_half_step(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    stage = Regression(before=at(5, twice))
    with pytest.raises(KeyboardInterrupt):
        train(stage, settings(), tmp_path)
    assert stage.computed == 5
    assert saved_step(tmp_path) is None


def test_an_error_keeps_the_last_checkpoint(tmp_path: Path, uninterrupted: list[Tensor]) -> None:
    def fail() -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        train(Regression(before=at(20, fail)), settings(checkpoint_seconds=0.0), tmp_path)
    resumed = Regression()
    train(resumed, settings(), tmp_path)
    assert resumed.computed < 40
    assert equal(resumed.copies(), uninterrupted)


def test_a_finished_run_takes_no_step_and_has_the_same_weights(
    tmp_path: Path, uninterrupted: list[Tensor]
) -> None:
    train(Regression(), settings(), tmp_path)
    kept = (tmp_path / CHECKPOINT).read_bytes()
    again = Regression()
    assert train(again, settings(), tmp_path) == 40
    assert again.computed == 0
    assert equal(again.copies(), uninterrupted)
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_a_larger_budget_goes_on(tmp_path: Path) -> None:
    train(Regression(), settings(), tmp_path)
    longer = Regression()
    assert train(longer, settings(max_steps=60), tmp_path) == 60
    assert longer.computed == 20


def test_it_trains_outside_the_main_thread(tmp_path: Path, uninterrupted: list[Tensor]) -> None:
    stage = Regression()
    thread = threading.Thread(target=train, args=(stage, settings(), tmp_path))
    thread.start()
    thread.join()
    assert equal(stage.copies(), uninterrupted)


@contextmanager
def ignoring(number: signal.Signals) -> Iterator[None]:
    former = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, former)


def test_a_signal_that_the_process_ignores_stays_ignored(
    tmp_path: Path, uninterrupted: list[Tensor]
) -> None:
    stage = Regression(before=at(3, lambda: signal.raise_signal(signal.SIGINT)))
    with ignoring(signal.SIGINT):
        assert train(stage, settings(), tmp_path) == 40
    assert equal(stage.copies(), uninterrupted)


def start_and_kill(folder: Path, seconds: float) -> None:
    """Start the run in a process of its own; kill it `seconds` after its first checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.regression", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(("src", "."))},
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / CHECKPOINT).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(seconds)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "the process ended before it was killed"


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    # Not seeded: whenever the kill comes, the result is the same.
    start_and_kill(tmp_path / "killed", random.uniform(0, 0.5))
    step = saved_step(tmp_path / "killed")
    assert step is not None
    assert 1 <= step < KILLED_STEPS

    whole, resumed = Regression(), Regression()
    steps = settings(max_steps=KILLED_STEPS)
    assert train(resumed, steps, tmp_path / "killed") == KILLED_STEPS
    assert resumed.computed == KILLED_STEPS - step
    train(whole, steps, tmp_path / "whole")
    assert resumed.losses == whole.losses[step:]
    assert equal(resumed.copies(), whole.copies())
