"""The features of AnimateZero as numbers: all samples measured, their means, and the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stillmotion.evaluation.ablation import cell
from stillmotion.evaluation.extractors.dis import require_opencv
from stillmotion.evaluation.features import FEATURES, REFERENCE, reason_to_leave_out
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.measure import Row
from stillmotion.evaluation.run import Plan, Tick, measure

Entry = dict[str, Any]
Interval = tuple[float, float]

_MEANS = (
    "i1_mse", "end_mse", "first_step", "largest_step", "mean_step", "last_step", "return_step",
    "seamless_return_step", "seam", "saturation_drift", "flow", "edges_followed", "edges_by_chance",
    "seconds",
)  # fmt: skip
_SHARES = ("motion", "last_subject", "last_colour", "last_background", "last_domain")
_EXTRAS = {
    "last_step": "last / other steps",
    "return_step": "step back to frame 1 / mean step",
    "seamless_return_step": "without the repeated frame",
    "seam": "steps at / off window borders",
    "edges_followed": "agreement with the edges",
    "edges_by_chance": "with those of another scene",
}
"""What is measured of some features only."""
_PEAK = 255.0
_MIB = 2**20


def num_samples(plan: Plan, names: Sequence[str], prompts: int) -> int:
    """How often `measure_features` ticks: once for each sample."""
    return prompts * len(_made(plan, names))


def measure_features(plan: Plan, names: Sequence[str], prompts: int, tick: Tick) -> list[Entry]:
    """One entry of the table for each of the features `names`, in their order.

    Each feature is measured by processes of its own, so that the memory they needed is its own.
    Raises InputError if OpenCV, which estimates the flow, is not installed.
    """
    require_opencv()
    rows = {name: measure(plan, f"feature/{name}", prompts, tick) for name in _made(plan, names)}
    return [summarise(name, rows[name]) if name in rows else _left_out(plan, name)
            for name in names]  # fmt: skip


def _made(plan: Plan, names: Sequence[str]) -> list[str]:
    """The features to measure: those that the model can show, and what they are compared with."""
    folder = plan.model_folder
    able = [name for name in names if reason_to_leave_out(FEATURES[name], folder) is None]
    # First, since its clips must be there before others are compared with them.
    is_needed = REFERENCE in able or any(FEATURES[name].is_compared for name in able)
    return [REFERENCE] * is_needed + [name for name in able if name != REFERENCE]


def _left_out(plan: Plan, name: str) -> Entry:
    reason = reason_to_leave_out(FEATURES[name], plan.model_folder)
    return {"feature": name, "title": FEATURES[name].title, "samples": 0, "left_out": reason}


def summarise(name: str, rows: Sequence[Row]) -> Entry:
    """Means over the samples of one feature, with 95 % intervals.

    NaN stands for what there is nothing to measure of.  `psnr` (dB) is that of the mean squared
    error of all samples against the reference's clips, infinite if they are equal.
    """
    entry: Entry = {"feature": name, "title": FEATURES[name].title, "samples": len(rows)}
    for key in _MEANS:
        entry[key], entry[f"{key}_interval"] = _mean([row[key] for row in rows])
    for key in _SHARES:
        hits = [row[key] for row in rows if row[key] is not None]
        entry[key], entry[f"{key}_interval"] = _share(hits)
    plain = [row["motion"] for row in rows if row["domain"] == "plain"]
    plain = [hit for hit in plain if hit is not None]
    entry["plain_motion"], entry["plain_motion_interval"] = _share(plain)
    entry["peak_bytes"] = max(row["peak_bytes"] for row in rows)
    if FEATURES[name].is_compared:
        error, (low, high) = _mean([row["difference"] for row in rows])
        entry["difference"], entry["difference_interval"] = error, (low, high)
        entry["psnr"], entry["psnr_interval"] = _psnr(error), (_psnr(high), _psnr(low))
    return entry


def _mean(values: Sequence[float]) -> tuple[float, Interval]:
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    return (float(finite.mean()) if len(finite) else math.nan), bootstrap(finite)


def _share(hits: Sequence[bool]) -> tuple[float, Interval]:
    """In per cent; NaN without samples."""
    low, high = wilson(sum(hits), len(hits))
    share = 100 * sum(hits) / len(hits) if hits else math.nan
    return share, (100 * low, 100 * high)


def _psnr(error: float) -> float:
    return 10 * math.log10(_PEAK**2 / error) if error > 0 else math.inf


def tables(entries: Sequence[Entry]) -> str:
    """The entries as two Markdown tables, frames and judgements; intervals are 95 %."""
    frames = [
        "| feature | I1-MSE (0-255) | end-frame MSE (0-255) | step 1-2 / later steps "
        "| largest / mean step | saturation, late frames | flow (pixels) | more |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    judged = [
        "| feature | samples | motion | motion, plain look | subject of the last frame "
        "| look of the last frame | seconds per clip | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for entry in entries:
        if reason := entry.get("left_out"):
            frames.append(f"| {entry['title']} | {' | '.join(['–'] * 6)} | left out: {reason} |")
            continue
        frames.append(_line(entry["title"], *_frame_cells(entry)))
        judged.append(_line(entry["title"], *_judged_cells(entry)))
    return "\n".join([*frames, "", *judged])


def _frame_cells(entry: Entry) -> list[str]:
    return [
        cell(entry, "i1_mse", 1), cell(entry, "end_mse", 1), cell(entry, "first_step", 2),
        cell(entry, "largest_step", 2), cell(entry, "saturation_drift", 1, " %", sign="+"),
        cell(entry, "flow", 2), _more(entry),
    ]  # fmt: skip


def _judged_cells(entry: Entry) -> list[str]:
    shares = ("motion", "plain_motion", "last_subject", "last_domain")
    return [
        str(entry["samples"]), *(cell(entry, key, 0, " %") for key in shares),
        cell(entry, "seconds", 1), f"{entry['peak_bytes'] / _MIB:.0f} MiB",
    ]  # fmt: skip


def _more(entry: Entry) -> str:
    """What is measured of some features only."""
    parts = [f"{what} {cell(entry, key, 2)}" for key, what in _EXTRAS.items()
             if not math.isnan(entry[key])]  # fmt: skip
    if FEATURES[entry["feature"]].end == "other colour":
        parts.append(f"last frame in the other colour {cell(entry, 'last_colour', 0, ' %')}")
    if "psnr" in entry:
        equal = math.isinf(entry["psnr"])
        parts.append("equal to full" if equal else f"PSNR to full {cell(entry, 'psnr', 1, ' dB')}")
    return "; ".join(parts)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
