"""Curves as a Markdown page, for JSON, and as plots."""

from __future__ import annotations

from typing import Any

from stillmotion.benchmarks.calibration import name_of
from stillmotion.benchmarks.curves import FRAMES, MEMORY, OURS, Curve, CurveReport, Point
from stillmotion.benchmarks.machine import quiet_in_words
from stillmotion.benchmarks.plots import Bar as PlotBar
from stillmotion.benchmarks.plots import Series, bars, lines

LINEAR = 1.05
"""The most that the exponent of time over frames should be."""
_LINEAR_TO = 128
_NOTHING = "–"
_MIB = 2**20


def curves_page(report: CurveReport, plots: dict[str, str] | None = None) -> str:
    """All tables, under headings; `plots` are names of pictures by the kind of the curve."""
    rules = report.rules
    cap = "" if rules.cap_bytes is None else f" Memory capped at {rules.cap_bytes / _MIB:.0f} MiB."
    parts = [
        f"# Curves: {report.model}",
        "Written by `stillmotion bench curves`; [time-method.md](time-method.md) says how it is "
        "measured.",
        f"{report.machine.as_words()}. {name_of(report.dtype)}; {report.clip}, "
        f"{rules.num_steps} steps where they are not varied; {rules.rounds} rounds after "
        f"{rules.warmups} that do not count.{cap}",
        quiet_in_words(report.quiet),
        "## Target",
        _target(report),
    ]
    for curve in report.curves:
        parts += [f"## {curve.kind}", f"{curve.title[0].upper()}{curve.title[1:]}."]
        if plots and curve.kind in plots:
            parts.append(f"![{curve.title}]({plots[curve.kind]})")
        parts += [_table(curve), _growth(curve)]
    return "\n\n".join(part for part in parts if part)


def linear_exponent(report: CurveReport) -> tuple[float | None, str]:
    """Exponent of our time over frames, or why it is not known up to 128 frames."""
    for curve in report.curves:
        if curve.kind == FRAMES:
            measured = curve.of(OURS)
            if not measured or measured[-1].x < _LINEAR_TO:
                return None, f"needs --frames up to {_LINEAR_TO}"
            return curve.exponent(OURS), ""
    return None, "the curve of frames was left out"


def _target(report: CurveReport) -> str:
    found, why = linear_exponent(report)
    if found is None:
        said = f"not measured: {why}; `stillmotion bench curves --model {report.model}`"
        shown = _NOTHING
    else:
        said, shown = "holds" if found <= LINEAR else "falls short", f"{found:.3f}"
    return (
        "| target | limit | found | holds |\n| --- | ---: | ---: | --- |\n"
        f"| time linear in frames to {_LINEAR_TO}: exponent | ≤ {LINEAR:g} | {shown} | {said} |"
    )


def _table(curve: Curve) -> str:
    rows = [
        f"| {curve.kind} | what | median s | quartiles s | peak MiB |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    rows += [_row(point) for point in curve.points]
    return "\n".join(rows)


def _row(point: Point) -> str:
    if point.timing is None:
        return f"| {point.name} | {point.series} | {point.why} | {_NOTHING} | {_NOTHING} |"
    low, high = (each / point.share for each in point.timing.quartiles)
    memory = _NOTHING if point.memory is None else f"{point.memory.total / _MIB:.0f}"
    return (
        f"| {point.name} | {point.series} | {point.seconds:.4g} | {low:.4g}–{high:.4g} | {memory} |"
    )


def _growth(curve: Curve) -> str:
    if curve.kind == MEMORY:
        return ""
    said = []
    for series in curve.series():
        exponent = curve.exponent(series)
        if exponent is not None:
            said.append(
                f"* {series}: seconds grow with the power {exponent:.3f}{_slope(curve, series)}."
            )
    return "\n".join(said)


def _slope(curve: Curve, series: str) -> str:
    """Of memory over frames, where that is asked."""
    points = [(p.x, p.memory.total) for p in curve.of(series) if p.memory is not None]
    if curve.kind != FRAMES or len(points) < 2:
        return ""
    (x_0, low), (x_1, high) = points[0], points[-1]
    return f", memory by {(high - low) / (x_1 - x_0) / _MIB:.2f} MiB a frame"


def curve_plots(report: CurveReport) -> dict[str, str]:
    """SVG by the kind of the curve."""
    found = {}
    for curve in report.curves:
        title = f"{report.model}: {curve.title}"
        if curve.kind == MEMORY:
            found[curve.kind] = bars(title, [_bar(p) for p in curve.points if p.timing], "s")
        else:
            series = [
                Series(name=name, points=tuple((p.x, p.seconds or 0.0) for p in curve.of(name)))
                for name in curve.series()
            ]
            found[curve.kind] = lines(title, [s for s in series if s.points], curve.kind, "s")
    return found


def _bar(point: Point) -> PlotBar:
    assert point.timing is not None
    low, high = point.timing.quartiles
    return PlotBar(name=point.name, value=point.timing.median, low=low, high=high)


def curve_facts(report: CurveReport) -> dict[str, Any]:
    """Everything for JSON: seconds and bytes."""
    exponent, why = linear_exponent(report)
    rules = report.rules
    return {
        "model": report.model,
        "clip": report.clip,
        "machine": report.machine.as_facts(),
        "quiet": {**vars(report.quiet), "is_quiet": report.quiet.is_quiet},
        "dtype": name_of(report.dtype),
        "num_steps": rules.num_steps,
        "rounds": rules.rounds,
        "warmups": rules.warmups,
        "cap_bytes": rules.cap_bytes,
        "linear": {
            "limit": LINEAR,
            "found": exponent,
            "holds": None if exponent is None else exponent <= LINEAR,
            "why": why,
        },
        "curves": [
            {
                "kind": curve.kind,
                "title": curve.title,
                "exponents": {name: curve.exponent(name) for name in curve.series()},
                "points": [_point_facts(point) for point in curve.points],
            }
            for curve in report.curves
        ],
    }


def _point_facts(point: Point) -> dict[str, Any]:
    memory = point.memory
    return {
        "place": point.name,
        "series": point.series,
        "seconds": None if point.timing is None else list(point.timing.seconds),
        "clips": point.share,
        "median_seconds_per_clip": point.seconds,
        "memory": None if memory is None else {**vars(memory), "total": memory.total},
        "why": point.why,
    }
