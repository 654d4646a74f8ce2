"""The loop learns, keeps its budget and its schedule, and says what is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.regression import Regression, settings

from stillmotion.errors import InputError
from stillmotion.training.checkpoint import load_checkpoint, save_checkpoint
from stillmotion.training.loop import LoopSettings, train


def mean_loss(stage: Regression) -> float:
    generator = torch.Generator().manual_seed(99)
    return sum(stage.loss(generator, 0.0)["loss"].item() for _ in range(20)) / 20


def test_the_loss_falls(tmp_path: Path) -> None:
    stage = Regression()
    before = mean_loss(stage)
    assert train(stage, settings(max_steps=300), tmp_path) == 300
    assert mean_loss(stage) < 0.1 * before


def test_it_learns_in_mixed_precision_too(tmp_path: Path) -> None:
    stage = Regression()
    before = mean_loss(stage)
    train(stage, settings(max_steps=300, bfloat16=True), tmp_path)
    assert mean_loss(stage) < 0.2 * before
    assert all(weight.dtype == torch.float32 for weight in stage.weights)


def test_two_runs_are_equal_and_leave_the_global_generator(tmp_path: Path) -> None:
    stages = [Regression(), Regression()]
    before = torch.get_rng_state()
    for number, stage in enumerate(stages):
        train(stage, settings(), tmp_path / str(number))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, *(stage.copies() for stage in stages)))


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    stages = [Regression(), Regression()]
    for seed, stage in enumerate(stages):
        train(stage, settings(seed=seed), tmp_path / str(seed))
    assert not torch.equal(stages[0].weights[0], stages[1].weights[0])


def test_a_time_budget_ends_the_run(tmp_path: Path) -> None:
    seen: list[float] = []
    limits = settings(max_steps=None, budget_seconds=0.2)
    steps = train(Regression(), limits, tmp_path, lambda progress, _: seen.append(progress))
    assert steps > 1
    assert seen[-1] == 1
    state = load_checkpoint(tmp_path / "regression.checkpoint")
    assert state is not None
    assert state["step"] == steps
    assert 0.2 <= state["seconds"] < 2


def test_the_tighter_budget_counts(tmp_path: Path) -> None:
    assert train(Regression(), settings(max_steps=3, budget_seconds=1e6), tmp_path) == 3


def test_a_run_without_budget_is_refused() -> None:
    with pytest.raises(InputError, match="time budget or a number of steps"):
        LoopSettings()


def test_the_learning_rate_warms_up_and_falls_to_its_last_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []

    class Recorder(torch.optim.AdamW):
        def step(self, *args: Any, **options: Any) -> Any:
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args, **options)

    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    schedule = settings(max_steps=200, warmup_steps=20, learning_rate=0.1, final_learning_rate=0.05)
    train(Regression(), schedule, tmp_path)
    assert len(rates) == 200
    assert rates[0] == pytest.approx(0.1 / 20)
    assert rates[100] == pytest.approx(0.1 * (0.05 + 0.95 * 0.5))
    assert rates[-1] == pytest.approx(0.1 * 0.05, rel=0.01)
    top = rates.index(max(rates))
    assert 15 <= top < 25
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_progress_is_told_to_stage_and_caller(tmp_path: Path) -> None:
    told: list[tuple[float, dict[str, float]]] = []
    train(Regression(), settings(), tmp_path, lambda *report: told.append(report))
    progress, values = told[-1]
    assert progress == 1
    assert set(values) == {"loss"}
    assert math.isfinite(values["loss"])


def test_the_log_has_a_row_every_50_steps(tmp_path: Path) -> None:
    train(Regression(), settings(max_steps=120), tmp_path)
    lines = (tmp_path / "regression.log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [50, 100]
    assert rows[1]["loss"] < rows[0]["loss"]


def test_a_loss_that_is_not_finite_is_told_and_not_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="regression is nan at step 7; lower its learning rate"):
        train(Regression(poison=7), settings(), tmp_path)
    assert load_checkpoint(tmp_path / "regression.checkpoint") is None


def broken(path: Path, kind: str) -> None:
    """Put a file at `path` that is no checkpoint."""
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "garbage":
        path.write_bytes(b"not a checkpoint at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "tensor":
        torch.save(torch.zeros(3), path)
    else:
        save_checkpoint(path, {"weights": []})


@pytest.mark.parametrize("kind", ["truncated", "garbage", "empty", "tensor", "foreign"])
def test_a_broken_checkpoint_is_told(tmp_path: Path, kind: str) -> None:
    train(Regression(), settings(), tmp_path)
    path = tmp_path / "regression.checkpoint"
    broken(path, kind)
    kept = path.read_bytes()
    message = r"regression\.checkpoint is not a readable checkpoint; delete it to start"
    with pytest.raises(InputError, match=message):
        train(Regression(), settings(), tmp_path)
    assert path.read_bytes() == kept


def test_a_checkpoint_of_other_shapes_is_told(tmp_path: Path) -> None:
    train(Regression(hidden=8), settings(), tmp_path)
    with pytest.raises(InputError, match="belongs to a stage of another size"):
        train(Regression(hidden=9), settings(), tmp_path)


def test_a_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.checkpoint"
    assert load_checkpoint(path) is None
    state = {"numbers": [1, 2.5], "weights": torch.arange(3.0), "name": "a"}
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded is not None
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state

    def failing(*_: object) -> None:
        raise RuntimeError("the power went off")

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(RuntimeError):
        save_checkpoint(path, {"other": 1})
    assert (load_checkpoint(path) or {})["name"] == "a"
    assert list(tmp_path.iterdir()) == [path]
