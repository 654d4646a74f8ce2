"""Rows are made once, kept at once, and taken up again after a run was killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.pool import Pool

from stillmotion.evaluation import run, workers
from stillmotion.evaluation.run import Plan, measure, model_identity, read_rows


class Bench:
    """Stands for the model: a row tells its index; `made` is what was asked for."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.broken: int | None = None

    def still(self, index: int) -> dict[str, Any]:
        if index == self.broken:
            raise ValueError("broken")
        self.made.append(index)
        return {"square": index**2, "ratio": float("nan") if index == 1 else 1.5}

    def feature(self, name: str, index: int) -> dict[str, Any]:
        return {"made": f"{name} {index}"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench()
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(run, "_prepare", lambda plan: None)
    monkeypatch.setattr(run, "_measurer", bench)
    return bench


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(reference="miniature", model_folder=tmp_path, folder=tmp_path / "rows")


def test_rows_come_in_order_and_are_ticked(bench: Bench, plan: Plan) -> None:
    ticks: list[int] = []
    rows = measure(plan, "still", 4, lambda: ticks.append(1))
    assert [row["square"] for row in rows] == [0, 1, 4, 9]
    assert len(ticks) == 4


def test_a_second_run_makes_nothing(bench: Bench, plan: Plan) -> None:
    first = measure(plan, "still", 3)
    bench.made.clear()
    ticks: list[int] = []
    assert str(measure(plan, "still", 3, lambda: ticks.append(1))) == str(first)
    assert bench.made == []
    assert len(ticks) == 3
    assert [row["square"] for row in measure(plan, "still", 2)] == [0, 1]


def test_more_samples_make_the_missing_ones(bench: Bench, plan: Plan) -> None:
    measure(plan, "still", 2)
    bench.made.clear()
    assert [row["square"] for row in measure(plan, "still", 4)] == [0, 1, 4, 9]
    assert bench.made == [2, 3]


def test_a_killed_run_goes_on(bench: Bench, plan: Plan) -> None:
    """The last line was cut: its row is made again, and no other is lost with it."""
    measure(plan, "still", 3)
    path = plan.folder / "still.jsonl"
    path.write_text(path.read_text()[:-9])
    bench.made.clear()
    assert [row["square"] for row in measure(plan, "still", 5)] == [0, 1, 4, 9, 16]
    assert len(bench.made) == 3
    bench.made.clear()
    measure(plan, "still", 5)
    assert bench.made == []


def test_a_failure_keeps_what_is_finished(bench: Bench, plan: Plan) -> None:
    bench.broken = 2
    with pytest.raises(ValueError, match="broken"):
        measure(plan, "still", 3)
    finished = set(read_rows(plan.folder / "still.jsonl"))
    bench.broken = None
    bench.made.clear()
    assert len(measure(plan, "still", 3)) == 3
    assert set(bench.made) == {0, 1, 2} - finished


def test_tasks_have_files_of_their_own(bench: Bench, plan: Plan) -> None:
    measure(plan, "still", 1)
    assert [path.name for path in plan.folder.iterdir()] == ["still.jsonl"]
    [line] = (plan.folder / "still.jsonl").read_text().splitlines()
    assert json.loads(line) == {"index": 0, "square": 0, "ratio": 1.5}


def test_tasks_of_a_kind_lie_in_a_folder(bench: Bench, plan: Plan) -> None:
    assert measure(plan, "feature/loop", 2)[1] == {"made": "loop 1"}
    assert measure(plan, "feature/long", 1)[0] == {"made": "long 0"}
    kept = sorted(path.name for path in (plan.folder / "feature").iterdir())
    assert kept == ["long.jsonl", "loop.jsonl"]


def test_the_identity_follows_all_weights_and_no_results(tmp_path: Path) -> None:
    (tmp_path / "motion_adapter").mkdir()
    weights = tmp_path / "motion_adapter" / "weights.safetensors"
    weights.write_bytes(b"one")
    before = model_identity(tmp_path)
    (tmp_path / "README.md").write_text("a card")
    (tmp_path / "card.json").write_text("[]")
    assert model_identity(tmp_path) == before
    weights.write_bytes(b"two")
    assert model_identity(tmp_path) != before
    weights.write_bytes(b"one")
    assert model_identity(tmp_path) == before
    (tmp_path / "config.json").write_text("{}")
    assert model_identity(tmp_path) != before
