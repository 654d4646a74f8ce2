"""Means, intervals, places and comparisons, against answers worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evaluation.report.made_run import METHODS, NUMBERS, Shape, write_run

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Sample
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.evaluation.metrics.distances import frechet_distance
from stillmotion.evaluation.report.runs import Run, load_run
from stillmotion.evaluation.report.statistics import (
    Cell,
    Difference,
    compare,
    mean_cell,
    placed,
    set_cell,
)
from stillmotion.evaluation.report.summary import Line, Summary, as_facts, summarise


def samples(key: str, *values: float | None, **others: float | None) -> list[Sample]:
    return [
        Sample(method="m", case=f"c{i}", clip="x", metrics={key: value, **others}, num_frames=2)
        for i, value in enumerate(values)
    ]


def compared(key: str, first: list[float | None], second: list[float | None]) -> Difference:
    """The one difference of two methods with these values of the same cases."""
    pairs = list(zip(samples(key, *first), samples(key, *second), strict=True))
    [found] = compare(pairs, {}, [CATALOGUE[key]])
    return found


def line(summary: Summary, key: str, table: int = 0) -> Line:
    return next(one for one in summary.tables[table].lines if one.metric.key == key)


def test_mean_of_all_cases(summary: Summary) -> None:
    cell = line(summary, "text_sim").cells[0]
    assert cell.mean == pytest.approx(0.315)
    assert (cell.low, cell.high) == bootstrap(np.array(NUMBERS["text_sim"][0]))
    assert (cell.count, cell.undefined) == (4, 0)


def test_undefined_values_are_left_out() -> None:
    cell = mean_cell(samples("first_step_ratio", 2.0, None, 1.0), CATALOGUE["first_step_ratio"])
    assert (cell.mean, cell.count, cell.undefined) == (1.5, 2, 1)


def test_one_clip_has_no_interval() -> None:
    cell = mean_cell(samples("text_sim", 0.3), CATALOGUE["text_sim"])
    assert (cell.mean, cell.low, cell.high) == (0.3, None, None)


def test_no_clip_has_nothing() -> None:
    cell = mean_cell([], CATALOGUE["text_sim"])
    assert (cell.mean, cell.low, cell.count) == (None, None, 0)


def test_yes_or_no_has_wilsons_interval(summary: Summary) -> None:
    cell = line(summary, "motion_right").cells[2]
    assert cell.mean == 0.75
    assert (cell.low, cell.high) == wilson(3, 4)


def test_shares_of_frames_are_bootstrapped() -> None:
    cell = mean_cell(samples("subject", 0.5, 1.0, 0.0), CATALOGUE["subject"])
    assert (cell.low, cell.high) == bootstrap(np.array([0.5, 1.0, 0.0]))


def test_an_infinite_psnr_is_exact() -> None:
    metric = CATALOGUE["i1_psnr"]
    assert mean_cell(samples("i1_psnr", None, None, i1_mse=0.0), metric).exact == 2
    # Not defined, for another reason than an exact frame.
    assert mean_cell(samples("i1_psnr", None, i1_mse=3.0), metric).exact == 0


def test_places_follow_the_direction(summary: Summary) -> None:
    assert [cell.place for cell in line(summary, "i1_mse").cells] == [None, 1, 2]
    assert [cell.place for cell in line(summary, "text_sim").cells] == [None, 1, 2]
    assert [cell.place for cell in line(summary, "motion_magnitude").cells] == [None] * 3


def test_values_shown_alike_share_a_place() -> None:
    cells = [Cell(mean=mean, low=None, high=None, count=4) for mean in (0.31001, 0.31, 0.2, 0.25)]
    assert [cell.place for cell in placed(cells, CATALOGUE["text_sim"])] == [1, 1, None, 2]


def test_a_single_method_has_no_place() -> None:
    cells = [Cell(mean=1.0, low=None, high=None, count=4), Cell(mean=None, low=None, high=None,
             count=0)]  # fmt: skip
    assert [cell.place for cell in placed(cells, CATALOGUE["i1_mse"])] == [None, None]


def test_where_all_are_alike_none_is_best() -> None:
    cells = [Cell(mean=0.0, low=None, high=None, count=4)] * 3
    assert [cell.place for cell in placed(cells, CATALOGUE["i1_mse"])] == [None] * 3


def test_exact_is_best_and_half_exact_has_no_place(summary: Summary) -> None:
    assert [cell.place for cell in line(summary, "i1_psnr").cells] == [None, 1, None]


def test_distances_of_sets_are_over_cases_of_both() -> None:
    rng = np.random.default_rng(5)
    made, real = rng.normal(size=(12, 3)), rng.normal(size=(12, 3)) + 1
    of_method = [
        sample.model_copy(update={"features": {"video": tuple(row)}})
        for sample, row in zip(samples("text_sim", *[0.0] * 12), made, strict=True)
    ]
    known = {f"c{i}": tuple(row) for i, row in enumerate(real) if i != 3}
    cell = set_cell(of_method, known, CATALOGUE["fvd"])
    kept = [i for i in range(12) if i != 3]
    expected = frechet_distance(torch.tensor(made[kept]), torch.tensor(real[kept]))
    assert cell.mean == pytest.approx(expected, rel=1e-6)
    assert cell.count == 11
    assert cell.low is not None
    assert cell.high is not None
    assert cell.low < cell.mean < cell.high  # type: ignore[operator]
    assert set_cell(of_method, known, CATALOGUE["fvd"], with_interval=False).low is None


def test_distances_of_too_few_clips_are_left_out() -> None:
    assert set_cell(samples("text_sim", 1.0), {}, CATALOGUE["fvd"]).mean is None


def test_the_difference_is_that_of_the_same_cases() -> None:
    first, second = (
        samples("text_sim", 0.5, None, 0.3, 0.9),
        samples("text_sim", 0.4, 0.1, 0.1, 0.6),
    )
    [found] = compare(list(zip(first, second, strict=True)), {}, [CATALOGUE["text_sim"]])
    assert found.count == 3
    assert found.mean == pytest.approx(0.2)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.3)
    assert found.p_value == pytest.approx(2 / 8)  # only all signs alike reach the sum


def test_yes_or_no_is_compared_by_mcnemar() -> None:
    found = compared("motion_right", [1.0] * 7 + [0.0], [0.0] * 6 + [1.0, 0.0])
    assert found.p_value == pytest.approx(2 / 2**6)
    # Random flips of as many would not reach so small a p.
    found = compared("motion_right", [1.0] * 20, [0.0] * 20)
    assert found.p_value == pytest.approx(2 / 2**20)


@pytest.mark.parametrize(
    ("key", "verdict"),
    [("text_sim", "better"), ("i1_mse", "worse"), ("motion_magnitude", "different")],
)
def test_verdicts_follow_the_direction(key: str, verdict: str) -> None:
    found = compared(key, [*range(2, 12)], [*range(1, 11)])
    assert found.p_value == pytest.approx(2 / 2**10)
    assert found.verdict == verdict


def test_holm_corrects_for_the_number_of_metrics() -> None:
    """Six like differences have p = 2/64; of two metrics the smaller p counts twice."""
    first = samples("text_sim", *[1.0] * 6, i1_mse=1.0)
    second = samples("text_sim", *[0.0] * 6, i1_mse=0.0)
    metrics = [CATALOGUE["text_sim"], CATALOGUE["i1_mse"]]
    found = compare(list(zip(first, second, strict=True)), {}, metrics)
    assert [one.p_adjusted for one in found] == pytest.approx([4 / 64, 4 / 64])
    assert [one.verdict for one in found] == [None, None]


def test_distances_of_sets_are_compared_without_p(summary: Summary) -> None:
    fvd = next(one for one in summary.comparisons[0].differences if one.key == "fvd")
    cells = line(summary, "fvd").cells
    assert cells[0].mean is not None
    assert cells[1].mean is not None
    assert fvd.mean == pytest.approx(cells[1].mean - cells[0].mean)
    assert (fvd.p_value, fvd.p_adjusted, fvd.verdict) == (None, None, None)


def test_groups_have_tables_in_the_runs_order(summary: Summary) -> None:
    assert [(table.group, table.num_cases) for table in summary.tables] == [
        (None, 4), ("plain", 2), ("neon", 2),
    ]  # fmt: skip
    assert line(summary, "text_sim", 1).cells[0].mean == pytest.approx((0.30 + 0.31) / 2)


def test_one_group_needs_no_table_of_its_own(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", Shape(groups=("",))).path)
    assert len(summarise([run]).tables) == 1


def test_titles_name_the_extractor(summary: Summary) -> None:
    assert summary.metric("text_sim").title == "Text-Sim (CLIP-miniature)"
    assert summary.metric("fvd").title == "FVD-judge"


def test_metrics_of_plug_ins_are_shown_under_their_key(made: Run) -> None:
    changed = {
        key: sample.model_copy(update={"metrics": {**sample.metrics, "glow": 2.0}})
        for key, sample in made.samples.items()
    }
    found = summarise([replace(made, samples=changed)])
    assert found.tables[0].lines[-1].metric.title == "glow"
    assert found.tables[0].lines[-1].cells[0].mean == 2.0


def test_the_first_method_is_the_reference_unless_another_is_named(made: Run) -> None:
    pairs = [(one.method, one.reference) for one in summarise([made]).comparisons]
    assert pairs == [(METHODS[1], METHODS[0]), (METHODS[2], METHODS[0])]
    pairs = [(one.method, one.reference) for one in summarise([made], METHODS[1]).comparisons]
    assert pairs == [(METHODS[0], METHODS[1]), (METHODS[2], METHODS[1])]
    with pytest.raises(InputError, match="no method is called 'pia'; there are animatediff"):
        summarise([made], "pia")


def test_unfinished_methods_are_named(tmp_path: Path) -> None:
    shape = Shape(leave_out=frozenset({("animatezero", "case-2")}))
    found = summarise([load_run(write_run(tmp_path / "run", shape).path)])
    assert any("AnimateZero lacks 1 of 4 cases" in note for note in found.notes)
    assert [one.count for one in found.comparisons[0].differences if one.key == "text_sim"] == [3]


def test_facts_are_plain_json(summary: Summary) -> None:
    facts = as_facts(summary)
    again = json.loads(json.dumps(facts, allow_nan=False))
    assert again["tables"][0]["lines"][0]["cells"][0]["mean"] == 7.0
    assert again["schema_version"] == 1
    assert all(
        value is None or math.isfinite(value)
        for table in again["tables"] for one in table["lines"]
        for cell in one["cells"] for value in (cell["mean"], cell["low"], cell["high"])
    )  # fmt: skip
