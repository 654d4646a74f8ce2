"""A measurement of time as a Markdown page, and for JSON."""

from __future__ import annotations

import math
from typing import Any

from stillmotion.benchmarks.calibration import name_of
from stillmotion.benchmarks.contest import Outcome, Results
from stillmotion.benchmarks.machine import quiet_in_words
from stillmotion.benchmarks.parity import STEPS, TOLERANCE
from stillmotion.benchmarks.plots import Bar, bars
from stillmotion.benchmarks.time_report import TimeReport
from stillmotion.benchmarks.time_targets import TimeVerdict, time_verdicts

_NOTHING = "–"
_MIB = 2**20
_COLOURS = ("exact", "approximate", "other", "reference")


def time_page(report: TimeReport, plots: dict[str, str] | None = None) -> str:
    """All tables, under headings; `plots` are names of pictures by that of the arena."""
    rules, ceilings = report.rules, report.ceilings
    rates = ", ".join(
        f"{rate / 1e12:.3g} TFLOP/s in {name}" for name, rate in ceilings.flops_per_second.items()
    )
    parts = [
        f"# Time: {report.model}",
        "Written by `stillmotion bench time`; [time-method.md](time-method.md) says how it is "
        "measured and who the contenders are.",
        f"{report.machine.as_words()}. {name_of(rules.dtype)}; {rules.rounds} rounds after "
        f"{rules.warmups} that do not count.",
        quiet_in_words(report.quiet),
        f"Ceilings, measured in the same run: a matrix product {rates}; a copy "
        f"{ceilings.bytes_per_second / 1e9:.3g} GB/s, read and written.",
        "## Targets",
        targets_table(time_verdicts(report)),
    ]
    for results in report.results:
        arena = results.arena
        parts += [f"## {arena.name}", f"{_sentence(arena.title)} {_steps(arena.num_steps)}".strip()]
        if plots and arena.name in plots:
            parts.append(f"![seconds of each contender]({plots[arena.name]})")
        parts += [_times(results, report), _checks(results)]
        parts += [_absent(results)] if any(one.timing is None for one in results.outcomes) else []
    return "\n\n".join(parts)


def targets_table(verdicts: list[TimeVerdict]) -> str:
    """What was found beside what should be."""
    rows = ["| target | limit | found | holds |", "| --- | ---: | ---: | --- |"]
    for one in verdicts:
        target = one.target
        limit = f"{'≥' if target.at_least else '≤'} {target.limit:g} {target.unit}"
        if one.found is None:
            found, holds = _NOTHING, f"not measured: {one.why}; `{one.command}`"
        else:
            found, holds = f"{one.found:.3g}", "holds" if one.holds else "falls short"
        rows.append(f"| {target.what} | {limit} | {found} | {holds} |")
    return "\n".join(rows)


def _times(results: Results, report: TimeReport) -> str:
    rows = [
        "| contender | kind | median s | quartiles s | faster than its reference | first call s | "
        "peak MiB | of the product's FLOPs | of the copy's bytes |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in results.outcomes:
        if one.timing is None:
            continue
        first, third = one.timing.quartiles
        cells = [
            one.contender.title, one.contender.label, f"{one.timing.median:.4g}",
            f"{first:.4g}–{third:.4g}", _faster(one, results), _number(one.first_seconds, ".3g"),
            _number(one.memory.total / _MIB if one.memory else None, ".0f"),
            *(_number(share, ".1%") for share in _shares(one, results, report)),
        ]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _checks(results: Results) -> str:
    """Parity and likeness, one sentence for each contender that has one."""
    said = []
    for one in results.outcomes:
        if one.parity is not None:
            verdict = "the same but for rounding" if one.parity.holds else "**not the same**"
            said.append(
                f"* {one.contender.title}: {verdict}; after {STEPS} steps in float32 the latents "
                f"differ from those of `{one.parity.against}` by at most "
                f"{one.parity.max_error:.1e}, on average {one.parity.mean_error:.1e} of their "
                f"deviation ({TOLERANCE:g} is allowed)."
            )
        if one.likeness is not None:
            psnr = one.likeness.psnr
            said.append(
                f"* {one.contender.title}: approximate; PSNR to `{one.likeness.against}` "
                f"{psnr:.1f} dB, mean squared error of frame 1 "
                f"{one.likeness.first_frame_error:.2g}."
            )
    return "\n".join(said) or "Nothing to compare."


def _absent(results: Results) -> str:
    lines = [
        f"* {one.contender.title}: not timed ({one.status}): {one.why}."
        for one in results.outcomes
        if one.timing is None
    ]
    return "\n".join(lines)


def _faster(one: Outcome, results: Results) -> str:
    against = one.contender.against
    other = results.median(against) if against else None
    if other is None or one.timing is None:
        return _NOTHING
    return f"{other / one.timing.median:.2f} x"


def _shares(
    one: Outcome, results: Results, report: TimeReport
) -> tuple[float | None, float | None]:
    """Of what the device can compute, and move, in the time that it took."""
    counts = results.counts_for(one)
    if counts is None or one.timing is None:
        return None, None
    total, seconds = counts.total, one.timing.median
    flops = report.ceilings.share_of_flops(total.flops, seconds, report.rules.dtype)
    return flops, report.ceilings.share_of_bytes(total.bytes_moved, seconds)


def time_plots(report: TimeReport) -> dict[str, str]:
    """SVG by the name of the arena; none where nothing was timed."""
    found = {}
    for results in report.results:
        rows = [
            Bar(
                name=one.contender.title,
                value=one.timing.median,
                low=one.timing.quartiles[0],
                high=one.timing.quartiles[1],
                kind=_COLOURS.index(one.contender.label),
            )
            for one in results.outcomes
            if one.timing is not None
        ]
        if rows:
            title = f"{report.model}: {results.arena.title}"
            found[results.arena.name] = bars(title, rows, "s")
    return found


def as_facts(report: TimeReport) -> dict[str, Any]:
    """Everything for JSON: seconds, bytes and FLOPs."""
    return {
        "model": report.model,
        "machine": report.machine.as_facts(),
        "quiet": {**vars(report.quiet), "is_quiet": report.quiet.is_quiet},
        "dtype": name_of(report.rules.dtype),
        "rounds": report.rules.rounds,
        "warmups": report.rules.warmups,
        "ceilings": vars(report.ceilings),
        "targets": [_target_facts(one) for one in time_verdicts(report)],
        "arenas": [
            {
                "name": results.arena.name,
                "title": results.arena.title,
                "num_steps": results.arena.num_steps,
                "contenders": [_outcome_facts(one, results, report) for one in results.outcomes],
            }
            for results in report.results
        ],
    }


def _target_facts(one: TimeVerdict) -> dict[str, Any]:
    target = one.target
    return {
        "what": target.what,
        "limit": target.limit,
        "unit": target.unit,
        "at_least": target.at_least,
        "found": one.found,
        "holds": one.holds,
        "why": one.why,
        "command": one.command,
    }


def _outcome_facts(one: Outcome, results: Results, report: TimeReport) -> dict[str, Any]:
    contender, timing, counts = one.contender, one.timing, one.counts
    flops, moved = _shares(one, results, report)
    return {
        "name": contender.name,
        "title": contender.title,
        "group": contender.group,
        "label": contender.label,
        "against": contender.against,
        "status": one.status,
        "why": one.why,
        "seconds": None if timing is None else list(timing.seconds),
        "median_seconds": None if timing is None else timing.median,
        "quartile_seconds": None if timing is None else list(timing.quartiles),
        "first_seconds": one.first_seconds,
        "memory": None if one.memory is None else {**vars(one.memory), "total": one.memory.total},
        "flops": None if counts is None else counts.total.flops,
        "bytes_moved": None if counts is None else counts.total.bytes_moved,
        "share_of_flops": flops,
        "share_of_bytes": moved,
        "parity": None
        if one.parity is None
        else {**_finite(vars(one.parity)), "holds": one.parity.holds},
        "likeness": None if one.likeness is None else _finite(vars(one.likeness)),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity; null stands for it."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def _sentence(title: str) -> str:
    return f"{title[0].upper()}{title[1:]}."


def _steps(count: int) -> str:
    return f"{count} steps." if count > 1 else ""


def _number(value: float | None, form: str) -> str:
    return _NOTHING if value is None else f"{value:{form}}"
