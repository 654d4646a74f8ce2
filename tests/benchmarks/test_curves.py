"""Curves: growth, what cannot be made, and what the page says."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.benchmarks.test_time_report import MACHINE, QUIET
from tests.benchmarks.tiny_stages import CPU, clip_stage

from stillmotion.benchmarks import curves
from stillmotion.benchmarks.contest import Memory
from stillmotion.benchmarks.curve_tables import (
    curve_facts,
    curve_plots,
    curves_page,
    linear_exponent,
)
from stillmotion.benchmarks.curves import (
    CLIPS,
    DIFFUSERS,
    FRAMES,
    LITERAL,
    MEMORY,
    OURS,
    SIZES,
    STEPS,
    Curve,
    CurveReport,
    CurveRules,
    Point,
    check_places,
    growth_exponent,
    measure_curves,
    num_curve_ticks,
)
from stillmotion.benchmarks.plots import Bar, Series, bars, lines, ticks_to
from stillmotion.benchmarks.timing import Timing
from stillmotion.errors import InputError
from stillmotion.runtime.memory import PRESETS

MIB = 2**20
RULES = CurveRules(device=CPU, num_steps=1, rounds=1, warmups=0)


def test_growth_is_the_power() -> None:
    assert growth_exponent([(x, 3 * x**1.5) for x in (16.0, 32.0, 128.0)]) == pytest.approx(1.5)
    assert growth_exponent([(1.0, 2.0)]) is None
    assert growth_exponent([(4.0, 2.0), (4.0, 3.0)]) is None


def test_curves_of_a_tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_TABLE_ROWS", 4)  # so that 6 frames are too many for the others
    places: dict[str, Any] = {FRAMES: [4, 6], SIZES: [8, 16], STEPS: [1, 2], CLIPS: [1, 2]}
    ticks: list[int] = []
    report = measure_curves("tiny", clip_stage(), places, RULES, lambda: ticks.append(1))
    assert len(ticks) == num_curve_ticks(places) == 8
    by_kind = {curve.kind: curve for curve in report.curves}
    assert by_kind[FRAMES].series() == [OURS, DIFFUSERS, LITERAL]
    assert [point.x for point in by_kind[FRAMES].of(OURS)] == [4, 6]
    assert [point.x for point in by_kind[FRAMES].of(DIFFUSERS)] == [4]
    assert "has positions for 4 frames only" in curves_page(report)
    frames = [point.memory for point in by_kind[FRAMES].of(OURS)]
    assert all(memory is not None for memory in frames)
    assert frames[0].made < frames[1].made  # type: ignore[union-attr]
    two = by_kind[CLIPS].of(OURS)[1]
    assert two.seconds == two.timing.median / 2  # type: ignore[union-attr]


def test_every_memory_plan_is_measured() -> None:
    report = measure_curves("tiny", clip_stage(), {MEMORY: ()}, RULES)
    [curve] = report.curves
    assert [point.name for point in curve.points] == list(PRESETS)
    assert curve.exponent(OURS) is None
    need = {point.name: point.memory.total for point in curve.points if point.memory}
    assert need["tiny"] < need["lean"] < need["full"]


def point(x: float, seconds: float, mib: float = 100, series: str = OURS) -> Point:
    memory = Memory(weights=0, made=round(mib * MIB))
    return Point(
        x=x, name=f"{x:g}", series=series, timing=Timing(seconds=(seconds,)), memory=memory
    )


def made_up(*points: Point, kind: str = FRAMES) -> CurveReport:
    stage = clip_stage()
    return CurveReport(
        model="tiny", clip="4 frames of 8 x 8", dtype=stage.pipe.unet.dtype, rules=RULES,
        machine=MACHINE, quiet=QUIET, curves=(Curve(kind=kind, points=points),),
    )  # fmt: skip


@pytest.mark.parametrize(("power", "said"), [(1.0, "holds"), (1.2, "falls short")])
def test_the_target_is_judged_up_to_128_frames(power: float, said: str) -> None:
    report = made_up(*(point(x, x**power, 10 + x) for x in (16.0, 64.0, 128.0)))
    text = curves_page(report, {FRAMES: "curves-frames.svg"})
    assert f"| ≤ 1.05 | {power:.3f} | {said} |" in text
    assert f"power {power:.3f}, memory by 1.00 MiB a frame." in text
    assert "![frames of a clip](curves-frames.svg)" in text
    facts = json.loads(json.dumps(curve_facts(report)))
    assert facts["linear"]["holds"] is (said == "holds")
    assert facts["curves"][0]["points"][0]["memory"]["total"] == 26 * MIB


def test_fewer_frames_say_nothing_of_the_target() -> None:
    assert linear_exponent(made_up(point(16, 1), point(32, 2))) == (
        None,
        "needs --frames up to 128",
    )
    assert linear_exponent(made_up(point(1, 1), kind=STEPS))[0] is None
    assert "not measured: needs --frames" in curves_page(made_up(point(16, 1)))


def test_plots_of_curves_are_svg() -> None:
    plots = curve_plots(made_up(point(16, 1), point(32, 2)))
    assert "frames of a clip" in ElementTree.fromstring(plots[FRAMES]).attrib["aria-label"]
    ElementTree.fromstring(curve_plots(made_up(point(1, 1), kind=MEMORY))[MEMORY])


def test_numbers_that_no_clip_can_have_are_refused() -> None:
    check_places(SIZES, [64, 512])
    with pytest.raises(InputError, match="--sizes has 100; give a multiple of 8"):
        check_places(SIZES, [100])
    with pytest.raises(InputError, match="--frames has 0; give a whole number from 1 up"):
        check_places(FRAMES, [0])


# Plots.


@pytest.mark.parametrize("largest", [0.0007, 0.02, 0.9, 1.0, 3.3, 17.0, 128.0, 1024.0])
def test_ticks_are_few_and_reach_the_largest(largest: float) -> None:
    ticks = ticks_to(largest)
    assert ticks[0] == 0
    assert largest <= ticks[-1] <= 2 * largest
    assert 3 <= len(ticks) <= 7


def test_plots_escape_what_they_show() -> None:
    bar = Bar(name="a < b & c", value=1, low=1, high=1)
    for picture in (
        bars("x < y", [bar], "s"),
        lines("x < y", [Series(name="a < b", points=((1, 2), (3, 4)))], "n", "s"),
    ):
        assert "x < y" in ElementTree.fromstring(picture).attrib["aria-label"]


def test_longer_bars_stand_for_more() -> None:
    rows = [Bar(name=n, value=v, low=v, high=v) for n, v in (("a", 1.0), ("b", 4.0))]
    svg = ElementTree.fromstring(bars("t", rows, "s"))
    widths = [float(one.attrib["width"]) for one in svg.iter() if one.tag.endswith("rect")]
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.01)


def test_nothing_is_plotted_as_an_empty_picture() -> None:
    ElementTree.fromstring(bars("t", [], "s"))
    ElementTree.fromstring(lines("t", [], "n", "s"))
