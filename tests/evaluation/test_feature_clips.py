"""Samples of the features with the miniature itself, in two steps of a few frames."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.quick_miniature import quick_miniature, with_untrained_controlnet

from stillmotion.evaluation.feature_clips import FeatureMeasurer
from stillmotion.evaluation.features import FEATURES, REFERENCE

COSTS = {"seconds", "peak_bytes"}


@pytest.fixture(scope="module")
def measurer(tmp_path_factory: pytest.TempPathFactory) -> FeatureMeasurer:
    folder = tmp_path_factory.mktemp("features")
    model = with_untrained_controlnet(quick_miniature(folder / "model"))
    return FeatureMeasurer(str(model), "cpu", folder / "rows")


@pytest.fixture(scope="module")
def default(measurer: FeatureMeasurer) -> dict[str, Any]:
    return measurer.feature(REFERENCE, 0)


def without_costs(row: dict[str, Any]) -> dict[str, Any]:
    """What is the same in every run; NaN, which is unequal to itself, as a word."""
    return {name: str(value) for name, value in row.items() if name not in COSTS}


def test_a_sample_is_the_same_every_time(
    measurer: FeatureMeasurer, default: dict[str, Any]
) -> None:
    assert without_costs(measurer.feature(REFERENCE, 0)) == without_costs(default)
    assert default["domain"] == "plain"
    assert default["i1_mse"] == 0
    assert default["flow"] > 0
    assert default["seconds"] > 0
    assert default["peak_bytes"] > 0


def test_samples_are_those_of_the_ablation(
    measurer: FeatureMeasurer, default: dict[str, Any]
) -> None:
    rows = measurer.ablation(0)["rows"]
    for feature, row in (("animatediff", "a"), ("paper", "e")):
        found = measurer.feature(feature, 0)
        for key in ("i1_mse", "first_step", "mean_step", "motion", "last_subject"):
            assert found[key] == rows[row][key]
    assert default["first_step"] != rows["e"]["first_step"]


def test_looks_take_turns(measurer: FeatureMeasurer) -> None:
    assert measurer.feature("paper", 1)["domain"] == "pixel-art"


def test_memory_plans_are_compared_and_leave_nothing_behind(
    measurer: FeatureMeasurer, default: dict[str, Any]
) -> None:
    path = measurer._reference_path(0)
    kept = np.load(path)
    path.unlink()  # made again where it is missing
    assert measurer.feature("memory-lean", 0)["difference"] < 0.1
    assert (np.load(path) == kept).all()
    assert measurer.feature("memory-tiny", 0)["difference"] > 0.1
    assert without_costs(measurer.feature(REFERENCE, 0)) == without_costs(default)


def test_both_ends_are_met(measurer: FeatureMeasurer) -> None:
    for name in ("loop", "to-scene"):
        row = measurer.feature(name, 0)
        assert row["i1_mse"] == row["end_mse"] == 0
        assert row["last_step"] > 0
        assert math.isnan(row["return_step"]) == (name != "loop")
        assert (row["motion"] is None) == (name == "to-scene")


def test_photographs_are_of_the_world(measurer: FeatureMeasurer) -> None:
    """Frame 1 is the rendered picture; how it got its latents shows in the others."""
    rows = [measurer.feature(f"photograph-{how}", 0) for how in ("inversion", "diffusion")]
    assert [row["i1_mse"] for row in rows] == [0, 0]
    assert rows[0]["flow"] != rows[1]["flow"]


def test_an_untrained_controlnet_changes_nothing(
    measurer: FeatureMeasurer, default: dict[str, Any]
) -> None:
    row = without_costs(measurer.feature("edges", 0))
    own = {"edges_followed", "edges_by_chance"}
    assert all(0 <= float(row[key]) <= 1 for key in own)
    rest = {key: value for key, value in without_costs(default).items() if key not in own}
    assert {key: value for key, value in row.items() if key not in own} == rest


@pytest.mark.slow
@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_can_be_measured(name: str, measurer: FeatureMeasurer) -> None:
    row = measurer.feature(name, 0)
    assert row["first_step"] > 0
    assert row["largest_step"] >= 1
    assert math.isnan(row["seam"]) == (name != "long")
    assert math.isnan(row["edges_followed"]) == (name != "edges")
