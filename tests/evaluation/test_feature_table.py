"""From samples to the table: means, intervals, what is left out, what is measured first."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from stillmotion.errors import InputError
from stillmotion.evaluation import feature_table
from stillmotion.evaluation.ablation import as_facts
from stillmotion.evaluation.extractors import dis
from stillmotion.evaluation.feature_table import (
    measure_features,
    num_samples,
    summarise,
    tables,
)
from stillmotion.evaluation.features import FEATURES, REFERENCE
from stillmotion.evaluation.run import Plan

NOTHING = float("nan")


def row(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = dict.fromkeys(feature_table._MEANS, 1.0)
    made |= dict.fromkeys(feature_table._SHARES, True)
    made |= dict.fromkeys(("end_mse", "last_step", "return_step", "seamless_return_step"), NOTHING)
    made |= dict.fromkeys(("edges_followed", "edges_by_chance"), NOTHING)
    return made | {"seam": NOTHING, "domain": "plain", "peak_bytes": 2**20} | changes


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(reference="miniature", model_folder=tmp_path, folder=tmp_path / "rows")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `measure` is asked for; it makes nothing."""
    asked: list[str] = []

    def measure(plan: Plan, task: str, count: int, tick: Any) -> list[dict[str, Any]]:
        asked.append(task)
        return [row(difference=0.0)] * count

    monkeypatch.setattr(feature_table, "measure", measure)
    return asked


def test_means_and_their_intervals() -> None:
    entry = summarise("loop", [row(flow=1.0), row(flow=3.0)])
    assert entry["flow"] == 2
    assert entry["flow_interval"] == (1, 3)
    assert entry["samples"] == 2
    assert math.isnan(entry["end_mse"])


def test_what_cannot_be_measured_of_one_clip_is_left_out_of_the_mean() -> None:
    entry = summarise(REFERENCE, [row(first_step=NOTHING), row(first_step=1.5)])
    assert entry["first_step"] == 1.5


def test_shares_and_the_plain_ones_among_them() -> None:
    rows = [row(motion=True), row(motion=False, domain="neon"), row(motion=False, domain="neon")]
    entry = summarise(REFERENCE, rows)
    assert entry["motion"] == pytest.approx(100 / 3)
    assert entry["plain_motion"] == 100
    low, high = entry["motion_interval"]
    assert 0 < low < 100 / 3 < high < 100


def test_motion_that_is_not_judged_has_no_share() -> None:
    entry = summarise("to-scene", [row(motion=None)])
    assert math.isnan(entry["motion"])
    assert "| 1 | – | – | 100 %" in tables([entry])


def test_the_peak_is_the_largest_of_all_processes() -> None:
    rows = [row(peak_bytes=size * 2**20) for size in (500, 700, 600)]
    entry = summarise(REFERENCE, rows)
    assert entry["peak_bytes"] == 700 * 2**20
    assert "| 700 MiB |" in tables([entry])


def test_psnr_is_that_of_the_mean_error() -> None:
    entry = summarise("memory-tiny", [row(difference=2.0), row(difference=4.0)])
    assert entry["psnr"] == pytest.approx(10 * math.log10(255**2 / 3))
    low, high = entry["psnr_interval"]
    assert low < entry["psnr"] < high
    assert "PSNR to full 43.4 dB (42.1 to 45.1)" in tables([entry])


def test_equal_clips_are_called_equal() -> None:
    entry = summarise("memory-lean", [row(difference=0.0)])
    assert "equal to full" in tables([entry])
    [facts] = as_facts([entry])
    assert (facts["psnr"], facts["difference"]) == (None, 0)
    json.dumps(facts, allow_nan=False)


def test_what_some_features_have_beside_the_others() -> None:
    loop = row(last_step=1.5, return_step=0.0, seamless_return_step=1.25)
    said = tables([summarise("loop", [loop])])
    assert "last / other steps 1.50 (1.50 to 1.50)" in said
    assert "without the repeated frame 1.25 (1.25 to 1.25)" in said
    assert "steps at / off window borders" not in said
    edges = row(edges_followed=0.75, edges_by_chance=0.25)
    told = tables([summarise("edges", [edges])])
    assert "agreement with the edges 0.75 (" in told
    assert "with those of another scene 0.25 (" in told
    assert "borders 1.10 (" in tables([summarise("long", [row(seam=1.1)])])
    assert "in the other colour 0 % (0 to 79)" in tables(
        [summarise("to-text", [row(last_colour=False)])]
    )


def test_every_line_of_a_table_has_as_many_cells() -> None:
    entries = [summarise(name, [row(difference=1.0)]) for name in FEATURES]
    entries.append({"feature": "edges", "title": "edit", "samples": 0, "left_out": "why"})
    for table in tables(entries).split("\n\n"):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert tables(entries).count("left out: why") == 1


def test_rows_come_in_the_order_asked_for(plan: Plan, asked: list[str]) -> None:
    entries = measure_features(plan, ["paper", "default", "loop"], 2, lambda: None)
    assert [entry["feature"] for entry in entries] == ["paper", "default", "loop"]
    assert [entry["samples"] for entry in entries] == [2, 2, 2]
    assert asked == ["feature/default", "feature/paper", "feature/loop"]


def test_what_others_are_compared_with_is_measured_first(plan: Plan, asked: list[str]) -> None:
    [entry] = measure_features(plan, ["memory-lean"], 3, lambda: None)
    assert asked == ["feature/default", "feature/memory-lean"]
    assert entry["feature"] == "memory-lean"
    assert num_samples(plan, ["memory-lean"], 3) == 6
    assert num_samples(plan, ["loop"], 3) == 3


def test_a_model_without_a_controlnet(plan: Plan, asked: list[str]) -> None:
    [entry] = measure_features(plan, ["edges"], 2, lambda: None)
    assert (asked, entry["samples"]) == ([], 0)
    assert "left out: the model comes without a ControlNet" in tables([entry])
    assert num_samples(plan, ["edges"], 2) == 0


def test_without_opencv_nothing_is_begun(
    plan: Plan, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dis, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="OpenCV, which is not installed"):
        measure_features(plan, ["loop"], 2, lambda: None)
    assert asked == []
