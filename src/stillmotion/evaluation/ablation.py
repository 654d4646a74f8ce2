"""AnimateZero's ablation (paper, Fig. 6) as numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.measure import Row

ROW_NAMES = {
    "a": "(a) AnimateDiff",
    "b": "(b) + inserted latents",
    "c": "(c) + shared keys and values",
    "d": "(d) + window attention, positions uncorrected",
    "e": "(e) + corrected positions: AnimateZero as in the paper",
}


def summarise(samples: list[Row]) -> list[dict[str, Any]]:
    """Means over the samples for each row, with bootstrap intervals.

    Ratios of clips that do not move are NaN and left out; without any left the mean is NaN too.
    """
    result = []
    for name, title in ROW_NAMES.items():
        rows = [sample["rows"][name] for sample in samples]
        entry: dict[str, Any] = {"row": name, "title": title, "samples": len(rows)}
        for key in ("first_step", "late_drift", "mean_step", "i1_mse"):
            values = np.array([r[key] for r in rows if math.isfinite(r[key])], dtype=np.float64)
            entry[key] = float(values.mean()) if len(values) else math.nan
            entry[f"{key}_interval"] = bootstrap(values)
        for key in ("last_subject", "motion"):
            hits = sum(bool(r[key]) for r in rows)
            entry[key] = 100 * hits / len(rows)
            entry[f"{key}_interval"] = tuple(100 * end for end in wilson(hits, len(rows)))
        result.append(entry)
    return result


def table(summary: list[dict[str, Any]]) -> str:
    """The summary as a Markdown table; intervals are 95 %."""
    head = ("| row | step 1-2 / later steps | late drift | mean step (0-255) | I1-MSE (0-255) "
            "| subject of the last frame | motion |")  # fmt: skip
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for entry in summary:
        cells = [entry["title"]]
        cells += [cell(entry, key, 2) for key in ("first_step", "late_drift", "mean_step")]
        cells += [cell(entry, "i1_mse", 1), cell(entry, "last_subject", 0, " %"),
                  cell(entry, "motion", 0, " %")]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_facts(summary: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The summary for JSON, which knows no NaN: None stands for what could not be measured."""
    return [{key: _finite(value) for key, value in entry.items()} for entry in summary]


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(end) for end in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(entry: Mapping[str, Any], key: str, digits: int, unit: str = "", sign: str = "") -> str:
    """`entry[key]` with its interval, as a cell of a table; a dash for NaN."""
    if math.isnan(entry[key]):
        return "–"
    value, low, high = (
        f"{number:{sign}.{digits}f}" for number in (entry[key], *entry[f"{key}_interval"])
    )
    return f"{value}{unit} ({low} to {high})"
