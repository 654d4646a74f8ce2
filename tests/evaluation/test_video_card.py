"""Rows of DynamiCrafter's clips -> cards and the ablation's tables, from made-up measurements."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stillmotion.evaluation import card, video_ablation, video_card
from stillmotion.evaluation.cards import card_of
from stillmotion.evaluation.run import Plan
from stillmotion.evaluation.video_ablation import PUBLISHED, Ablated, orderings, table
from stillmotion.evaluation.video_measure import CHANGES
from stillmotion.miniature.judge import ATTRIBUTES
from stillmotion.models.registry import miniature_folder


def row(*, right: bool = True, one_wrong: bool = False, **changes: Any) -> dict[str, Any]:
    answers = [right] * 3 + [right and not one_wrong]
    return {
        **dict.fromkeys(ATTRIBUTES, answers), "motion": right, "conformity": 0.75,
        "mean_step": 2.0, **changes,
    }  # fmt: skip


def plan(folder: Path, **index: Any) -> Plan:
    folder.mkdir(exist_ok=True)
    index = {"_class_name": "DynamiCrafterPipeline"} | index
    (folder / "model_index.json").write_text(json.dumps(index))
    return Plan(reference="some", model_folder=folder, folder=folder / "rows")


class Rows:
    """Stands for `measure`."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self.rows, self.asked = rows, []  # type: ignore[var-annotated]

    def __call__(self, plan: Plan, task: str, count: int, tick: Any) -> list[dict[str, Any]]:
        self.asked.append(task)
        for _ in range(count):
            tick()
        return self.rows[task][:count]


def test_the_card_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {f"picture/{name}": [row(conformity=0.5)] * 4 for name in CHANGES}
    rows["picture/nothing"] = [row(), row(one_wrong=True), row(right=False), row()]
    rows["picture/without-context"] = [row(conformity=0.9)] * 4
    measure, ticks = Rows(rows), []
    monkeypatch.setattr(video_card, "measure", measure)
    kind = card_of(plan(tmp_path / "model"))
    lines = {line.what: line for line in kind.measure(plan(tmp_path / "model"), 4,
                                                      lambda: ticks.append(1))}  # fmt: skip
    assert len(ticks) == kind.num_measurements(4) == 16
    assert lines["subject of every frame"].value == 50
    assert lines["subject, mean over frames"].value == pytest.approx(100 * (1 + 0.75 + 0 + 1) / 4)
    assert lines["motion"].value == 75
    assert lines["motion"].reached
    above = {name: line for name, line in lines.items() if name.startswith("the same, above")}
    assert {name.rsplit(" model ")[1]: round(line.value, 6) for name, line in above.items()} == {
        "without context": -0.15, "without detail guidance": 0.25, "without either": 0.25,
    }  # fmt: skip
    assert [line.reached for line in above.values()] == [False, True, True]
    assert "| 0.250 | 0.250 to 0.250 | 4 | 0 | yes |" in card.table(list(above.values()))
    assert kind.about is not None
    assert kind.about.startswith("# The miniature DynamiCrafter\n")


def test_the_card_of_two_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Rows({"ends": [row(end=0.95), row(end=0.97)]})
    monkeypatch.setattr(video_card, "measure", measure)
    model = plan(tmp_path / "model", interpolates=True)
    kind = card_of(model)
    lines = kind.measure(model, 2, lambda: None)
    assert kind.num_measurements(2) == 2
    assert measure.asked == ["ends"]
    assert lines[-1].value == pytest.approx(0.96)
    assert kind.about is not None
    assert "between two pictures" in kind.about


def test_a_card_is_written_with_its_own_beginning(tmp_path: Path) -> None:
    card.write_card([], tmp_path, "a command", "# Another\n")
    assert (tmp_path / "README.md").read_text().startswith("# Another\n\n## Measured\n")


def entry(fvd: float, conformity: float) -> dict[str, Any]:
    told = {"fvd_judge": fvd, "kvd_judge": 0.1, "samples": 4}
    for key, value in (("conformity", conformity), ("content", 50.0), ("motion", 25.0),
                       ("mean_step", 2.0)):  # fmt: skip
        told |= {key: value, f"{key}_interval": (value - 1, value + 1)}
    return told


def ablated(distance: float, conformity: float, samples: int = 16) -> Ablated:
    """Clips whose features lie `distance` from the real ones, and so alike to their pictures."""
    rng = np.random.default_rng(0)
    real = torch.from_numpy(rng.normal(size=(samples, 4)))
    noise = torch.from_numpy(rng.normal(scale=0.1, size=(samples, 4)))
    return Ablated(
        told=entry(distance, conformity), features=real + distance + noise, real=real,
        conformity=conformity + 0.01 * np.arange(samples),
    )  # fmt: skip


def test_which_of_the_paper_s_orderings_hold() -> None:
    measured = {
        "full": ablated(2.0, 0.8),
        "without-context": ablated(3.0, 0.9),
        "without-detail-guidance": ablated(1.5, 0.7),
        "without-gate": ablated(2.0, 0.8),
        "one-stage": ablated(5.0, 0.5),
    }
    compared = orderings(measured)
    assert compared == [
        {"ablation": "without-context", "fvd": "holds", "pic": "does not"},
        {"ablation": "without-detail-guidance", "fvd": "holds", "pic": "does not"},
        {"ablation": "without-gate", "fvd": "not told apart", "pic": "not told apart"},
    ]
    lines = table(measured, compared).splitlines()
    assert "| full method | 2.00 | 0.100 | 0.800 (-0.200 to 1.800) |" in lines[2]
    assert lines[2].endswith("| 234.66 | 0.5803 |")
    assert lines[6].endswith("| – | – |")
    assert lines[-1] == "| without λ | not told apart | not told apart |"
    assert orderings({"without-context": ablated(3.0, 0.9)}) == []
    assert set(PUBLISHED) | {"one-stage"} == set(video_ablation.TITLES)


def test_too_few_clips_tell_no_distances_apart() -> None:
    few = {"full": ablated(2.0, 0.8, 4), "without-context": ablated(9.0, 0.1, 4)}
    assert orderings(few) == [
        {"ablation": "without-context", "fvd": "not told apart", "pic": "holds"}
    ]


def test_one_ablation_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [row(features=[float(i)] * 192) for i in range(3)]
    monkeypatch.setattr(video_ablation, "measure", Rows({"picture/nothing": made}))
    found = video_ablation.measure_ablation(
        Plan(reference="miniature", model_folder=miniature_folder(), folder=tmp_path),
        3,
        lambda: None,
    ).told
    assert found["samples"] == 3
    assert found["fvd_judge"] > 0
    assert found["content"] == found["motion"] == 100
    alone = video_ablation.measure_ablation(
        Plan(reference="miniature", model_folder=miniature_folder(), folder=tmp_path),
        1,
        lambda: None,
    ).told
    assert math.isnan(alone["fvd_judge"])
