"""`stillmotion evaluate` and `stillmotion train`: what they hand on, and one true run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.apps.conftest import Run
from tests.quick_miniature import quick_miniature

from stillmotion.evaluation import ablation, card, feature_table
from stillmotion.evaluation.card import Line
from stillmotion.evaluation.features import FEATURES
from stillmotion.evaluation.run import Plan, model_identity
from stillmotion.models.registry import miniature_folder


def test_miniature(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []

    def measure_card(plan: Plan, samples: int, tick: Any) -> list[Line]:
        plans.append(plan)
        return [Line("motion", float(samples), 70)]

    monkeypatch.setattr(card, "measure_card", measure_card)
    done = run("evaluate", "miniature", "--samples", "3", "--processes", "2", "-q", "--json")
    assert done.facts["samples"] == 3
    assert done.facts["lines"][0]["value"] == 3
    [plan] = plans
    assert (plan.reference, plan.device, plan.processes) == ("miniature", "cpu", 2)
    assert plan.folder.parent == Path("runs/evaluation")
    assert model_identity(miniature_folder()).startswith(plan.folder.name)


def test_ablation_writes_its_table(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"first_step": 1.0, "late_drift": 1.0, "mean_step": 2.0, "i1_mse": 0.0}
    rows = dict.fromkeys(ablation.ROW_NAMES, row | {"last_subject": True, "motion": True})
    monkeypatch.setattr(
        "stillmotion.evaluation.run.measure",
        lambda plan, task, count, tick: [{"rows": rows}] * count,
    )
    done = run("evaluate", "ablation", "--prompts", "2", "-o", "table.md", "-q")
    assert done.code == 0
    assert (here / "table.md").read_text() == done.out
    assert "'table.md' exists already" in run("evaluate", "ablation", "-o", "table.md").error
    assert run("evaluate", "ablation", "-o", "table.md", "--force", "-q").code == 0


def test_features_writes_its_tables(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], int]] = []

    def measure_features(plan: Plan, names: list[str], prompts: int, tick: Any) -> list[Any]:
        asked.append((names, prompts))
        return [{"feature": name, "title": name, "samples": 0, "left_out": "it is a test",
                 "flow": float("nan")} for name in names]  # fmt: skip

    monkeypatch.setattr(feature_table, "measure_features", measure_features)
    command = ("evaluate", "features", "-o", "table.md", "-q")
    done = run(*command, "--prompts", "3", "--features", "loop", "--features", "paper")
    assert done.code == 0
    assert (here / "table.md").read_text() == done.out
    assert "| loop | – | – |" in done.out
    assert "'table.md' exists already" in run(*command).error
    facts = run(*command, "--force", "--json").facts
    assert facts["prompts"] == 20
    assert [row["feature"] for row in facts["rows"]] == list(FEATURES)
    assert facts["rows"][0]["flow"] is None
    assert asked == [(["paper", "loop"], 3), (list(FEATURES), 20)]


def test_an_interrupt_tells_that_nothing_is_lost(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stillmotion.evaluation.run.measure", interrupt)
    stopped = run("evaluate", "ablation", "-q")
    assert stopped.code == 130
    assert "the same command goes on" in stopped.notes[0]


def test_what_cannot_be_measured(run: Run, here: Path) -> None:
    assert "unknown model" in run("evaluate", "miniature", "--model", "none").error
    assert "The device 'gpu'" in run("evaluate", "ablation", "--device", "gpu").error
    assert "--samples" in run("evaluate", "miniature", "--samples", "0").error
    assert "There is no feature 'lop'" in run("evaluate", "features", "--features", "lop").error


def test_what_cannot_be_trained(run: Run, here: Path) -> None:
    train = ("train", "miniature", "-q")
    assert "unknown stage 'all of it'" in run(*train, "--stage", "all of it").error
    assert "unknown recipe 'tpu'" in run(*train, "--recipe", "tpu").error
    assert "must be positive" in run(*train, "--budget", "-1").error
    assert "The device 'gpu'" in run(*train, "--device", "gpu").error


@pytest.mark.slow
def test_a_true_run_and_its_repetition(run: Run, here: Path) -> None:
    command = ("evaluate", "ablation", "--prompts", "1", "--processes", "1", "--json")
    first = run(*command)
    assert first.code == 0
    assert [row["row"] for row in first.facts["rows"]] == list("abcde")
    assert first.facts["rows"][4]["i1_mse"] == 0  # frame 1 is the still
    [path] = (here / "runs" / "evaluation").rglob("ablation.jsonl")
    [line] = path.read_text().splitlines()
    assert json.loads(line)["index"] == 0
    assert run(*command).facts == first.facts
    assert path.read_text().splitlines() == [line]


@pytest.mark.slow
def test_features_truly_measured(run: Run, here: Path) -> None:
    model = quick_miniature(here / "model", steps=4)
    command = ("evaluate", "features", "--model", str(model), "--prompts", "2", "--processes", "1")
    some = ("--features", "loop", "--features", "memory-lean", "--features", "edges", "--json")
    first = run(*command, *some)
    assert first.code == 0
    loop, lean, edges = first.facts["rows"]
    assert (loop["samples"], lean["samples"]) == (2, 2)
    assert loop["i1_mse"] == loop["end_mse"] == loop["return_step"] == 0
    assert lean["difference"] < 0.1
    if not (model / "controlnet").is_dir():
        assert "without a ControlNet" in edges["left_out"]
    assert run(*command, *some).facts == first.facts  # nothing is made again, times included
