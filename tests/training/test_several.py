"""Several processes train as one does: the same weights, one end, one checkpoint."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.regression import NetworkRegression, Regression, settings
from tests.training.several import HIDDEN, STOPPED_AT, Forgetful
from torch import Tensor

from stillmotion.training.checkpoint import load_checkpoint
from stillmotion.training.loop import train

REPOSITORY = Path(__file__).parents[2]
SCENARIOS = (
    "together", "bfloat16", "accumulated", "recomputed", "forgetful", "strange", "stopped-1",
    "elsewhere", "stopped-2", "sharded", "sharded-stopped-1", "sharded-stopped-2", "unshardable",
    "poisoned",
)  # fmt: skip
ROUNDING = 1e-5
Told = Callable[[str], list[dict[str, Any]]]


def run_together(folder: Path, *names: str) -> list[int]:
    """Run scenarios in two processes, as `torchrun` starts them; their exit codes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    world = {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"},
        **{"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
        "PYTHONPATH": os.pathsep.join(("src", ".")),
    }
    command = [sys.executable, "-m", "tests.training.several", str(folder), *names]
    processes = []
    for rank in ("0", "1"):
        environment = {**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank}
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment))
    deadline = time.monotonic() + 400
    try:
        return [process.wait(deadline - time.monotonic()) for process in processes]
    finally:
        for process in processes:
            process.kill()


def told_by(folder: Path) -> Told:
    return lambda name: [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("several")
    assert run_together(made, *SCENARIOS) == [0, 0]
    return made


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    return told_by(folder)


def alone(stage: Regression, folder: Path, **changes: Any) -> list[Tensor]:
    """The weights after one process has computed the batches of two."""
    train(stage, settings(**{"gradient_accumulation_steps": 2, **changes}), folder)
    return stage.copies()


def difference(found: list[Tensor], expected: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def test_both_end_with_the_same_averaged_weights(told: Told) -> None:
    for name in ("together", "bfloat16", "accumulated", "recomputed", "forgetful", "strange"):
        first, second = told(name)
        assert first["ended"] == second["ended"] == "finished"
        assert difference(first["weights"], second["weights"]) == 0
        assert first["losses"] != second["losses"], "each draws its own batches"


@pytest.mark.parametrize(
    ("name", "stage", "changes"),
    [
        ("together", Regression, {}),
        ("strange", Regression, {}),
        ("bfloat16", Regression, {"bfloat16": True}),
        ("accumulated", Regression, {"gradient_accumulation_steps": 4}),
        ("forgetful", Forgetful, {}),
        ("recomputed", lambda: NetworkRegression(hidden=HIDDEN), {}),
        ("sharded", lambda: NetworkRegression(hidden=HIDDEN), {}),
    ],
)
def test_one_process_that_sees_all_batches_gets_the_same_weights(
    told: Told,
    tmp_path: Path,
    name: str,
    stage: Callable[[], Regression],
    changes: dict[str, Any],
) -> None:
    assert difference(told(name)[0]["weights"], alone(stage(), tmp_path, **changes)) < ROUNDING


def test_the_main_process_alone_reports_and_writes(told: Told, folder: Path) -> None:
    first, second = told("accumulated")
    assert first["reports"] > 0
    assert second["reports"] == 0
    assert [path.name for path in (folder / "together").iterdir()] == ["regression.checkpoint"]


@pytest.mark.parametrize(
    ("stopped", "whole"), [("stopped", "together"), ("sharded-stopped", "sharded")]
)
def test_an_interrupt_in_one_ends_both_and_loses_nothing(
    told: Told, stopped: str, whole: str
) -> None:
    for rank in (0, 1):
        before, after, never = (told(n)[rank] for n in (f"{stopped}-1", f"{stopped}-2", whole))
        assert before["ended"] == "interrupted"
        assert len(before["losses"]) == STOPPED_AT + 1
        assert before["losses"] + after["losses"] == never["losses"]
        if after["weights"][0] is not None:
            assert difference(after["weights"], never["weights"]) == 0


def test_a_sharded_run_goes_on_in_one_process(told: Told, folder: Path) -> None:
    stage = NetworkRegression(hidden=HIDDEN)
    weights = alone(stage, folder / "alone")
    assert len(stage.losses) == 2 * (40 - STOPPED_AT - 1)
    assert difference(weights, told("sharded")[0]["weights"]) < ROUNDING


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("elsewhere", "give them a folder that all machines share"),
        ("unshardable", "regression does not say how to share out its networks"),
        ("poisoned", "the loss of stage regression is nan at step 5"),
    ],
)
def test_what_is_wrong_in_one_is_told_by_both(told: Told, name: str, message: str) -> None:
    assert all(message in one["ended"] for one in told(name))


@pytest.mark.slow
def test_after_a_kill_of_one_both_go_on_with_the_same_losses(folder: Path, tmp_path: Path) -> None:
    codes = run_together(tmp_path, "killed")
    assert codes[1] == -signal.SIGKILL
    assert codes[0] != 0
    saved = load_checkpoint(tmp_path / "killed" / "regression.checkpoint")
    assert saved is not None
    assert saved["step"] == STOPPED_AT
    assert run_together(tmp_path, "killed-resumed") == [0, 0]
    for resumed, whole in zip(
        told_by(tmp_path)("killed-resumed"), told_by(folder)("together"), strict=True
    ):
        assert resumed["losses"] == whole["losses"][STOPPED_AT:]
        assert difference(resumed["weights"], whole["weights"]) == 0
