"""Rows -> tables: the model card and the ablation, from made-up measurements."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from stillmotion.evaluation import ablation, card
from stillmotion.evaluation.card import Line, measure_card, num_measurements
from stillmotion.evaluation.run import Plan

LINES = [
    Line("motion", 75.0, 70, 60.0, 85.0, 40),
    Line("VAE, plain", 29.96, 30, unit="dB PSNR"),
]


def test_the_table_of_the_card() -> None:
    assert card.table(LINES).splitlines() == [
        "| measured | value | 95 % interval | samples | wanted | reached |",
        "| --- | --- | --- | --- | --- | --- |",
        "| motion | 75.0 % | 60.0 to 85.0 | 40 | 70 | yes |",
        "| VAE, plain | 30.0 dB PSNR |  |  | 30 | no |",
    ]


def test_the_card_is_written_into_the_model_s_folder(tmp_path: Path) -> None:
    training = {
        "hardware": "a machine",
        "recipe": {"image_size": 64},
        "stages": [{"name": "vae", "steps": 5, "seconds": 9.6}],
    }
    (tmp_path / "training.json").write_text(json.dumps(training))
    card.write_card(LINES, tmp_path, "stillmotion evaluate miniature --samples 40")
    text = (tmp_path / "README.md").read_text()
    assert card.table(LINES) in text
    for part in ("--samples 40", "a machine", "| vae | 5 | 10 |", '"image_size": 64'):
        assert part in text
    facts = json.loads((tmp_path / "card.json").read_text())
    assert [fact["reached"] for fact in facts] == [True, False]


def test_a_model_without_a_record_of_its_training_has_a_card_too(tmp_path: Path) -> None:
    card.write_card(LINES, tmp_path, "a command")
    assert "Hardware: unknown" in (tmp_path / "README.md").read_text()


def test_measuring_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares are counted right, the parts are measured once, and every measurement ticks."""
    measured: list[str] = []

    def part(name: str, result: Any) -> Any:
        return lambda folder: measured.append(name) or result

    parts = {
        "judge": part("judge", {"subject": (99, 100), "motion": (90, 100)}),
        "vae": part("vae", {"plain": 31.0, "neon": 27.0}),
        "clip": part("clip", (8, 10)),
    }
    right = {"subject": True, "colour": False, "background": True, "domain": True}
    rows = {
        "still": [right, right | {"colour": True}],
        "animatediff": [{"motion": True}, {"motion": False}],
        "animatezero": [
            {"motion": True, "exact": True, **{f"last_{k}": v for k, v in right.items()}}
        ] * 2,
    }  # fmt: skip
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)

    def measure(plan: Plan, task: str, count: int, tick: Any) -> Any:
        for _ in range(count):
            tick()
        return rows[task][:count]

    monkeypatch.setattr(card, "_PARTS", parts)
    monkeypatch.setattr(card, "measure", measure)
    plan = Plan(reference="miniature", model_folder=tmp_path, folder=tmp_path / "rows")
    lines = {line.what: line for line in measure_card(plan, 2, tick)}
    assert len(ticks) == num_measurements(2) == 9
    assert lines["judge: subject, rendered data"].reached
    assert not lines["judge: motion, rendered data"].reached
    assert lines["VAE, mean over looks"].value == 29
    assert lines["CLIP: own caption found among 64"].value == 80
    assert lines["drawn stills, all looks: colour"].value == 50
    assert lines["AnimateDiff clips: motion"].value == 50
    assert lines["AnimateZero clips: colour of the last frame"].value == 0
    assert lines["AnimateZero clips: first frame is the still"].reached
    assert measured == ["judge", "vae", "clip"]
    assert {line.what: line for line in measure_card(plan, 2, tick)} == lines
    assert measured == ["judge", "vae", "clip"]


def ablation_row(**changes: Any) -> dict[str, Any]:
    row = {"first_step": 1.0, "late_drift": 1.0, "mean_step": 2.0, "i1_mse": 0.0}
    return row | {"last_subject": True, "motion": False} | changes


def test_the_ablation_is_summarised_row_by_row() -> None:
    samples = [
        {"rows": {name: ablation_row(first_step=step) for name in ablation.ROW_NAMES}}
        for step in (1.0, 3.0)
    ]
    samples[0]["rows"]["a"] |= {"late_drift": math.nan, "last_subject": False}
    summary = ablation.summarise(samples)
    assert [entry["row"] for entry in summary] == list("abcde")
    assert summary[0]["first_step"] == 2
    assert summary[0]["first_step_interval"] == (1, 3)
    assert summary[0]["late_drift"] == 1  # the clip that does not move is left out
    assert summary[0]["last_subject"] == 50
    assert summary[1]["last_subject"] == 100
    lines = ablation.table(summary).splitlines()
    assert len(lines) == 2 + 5
    assert "| 2.00 (1.00 to 3.00) |" in lines[2]
    assert {line.count("|") for line in lines} == {8}


def test_clips_that_never_move_have_no_ratio() -> None:
    still = ablation_row(first_step=math.nan, late_drift=math.nan, mean_step=0.0)
    summary = ablation.summarise([{"rows": dict.fromkeys(ablation.ROW_NAMES, still)}])
    assert "| – | – | 0.00" in ablation.table(summary)
    facts = json.loads(json.dumps(ablation.as_facts(summary), allow_nan=False))
    assert facts[0]["first_step"] is None
    assert facts[0]["first_step_interval"] == [None, None]
