"""What the settings of DynamiCrafter do to a clip, as a table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stillmotion.errors import InputError
from stillmotion.evaluation.ablation import cell
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.run import Plan, measure
from stillmotion.evaluation.video_measure import CHANGES
from stillmotion.miniature.judge import ATTRIBUTES

TITLES = {
    "nothing": "the model's own settings",
    "without-context": "without image context",
    "without-guidance": "without detail guidance",
    "without-either": "without either",
    "exact-first-frame": "exact first frame",
    "later-start": "start at timestep 940",
    "stride-2": "frame stride 2",
    "stride-1": "frame stride 1",
    "image-guidance": "guidance by the picture of its own, 3",
    "no-rescaling": "guidance not rescaled",
    "no-fresh-noise": "no fresh noise (eta 0)",
}
_MEANS = {"first_mse": 1, "first_step": 2, "mean_step": 2, "conformity": 3}
Tick = Callable[[], None]


def chosen(names: list[str]) -> tuple[str, ...]:
    """The changes to measure; none named: all.  Raises InputError for an unknown one."""
    for name in names:
        if name not in CHANGES:
            raise InputError(f"unknown setting '{name}'; there are {', '.join(CHANGES)}")
    return tuple(names) or tuple(CHANGES)


def measure_settings(
    plan: Plan, names: tuple[str, ...], samples: int, tick: Tick | None = None
) -> list[dict[str, Any]]:
    """An entry for each change, with 95 % intervals; all of the same scenes, words and noise."""
    entries = []
    for name in names:
        rows = measure(plan, f"picture/{name}", samples, tick)
        entry: dict[str, Any] = {"change": name, "title": TITLES[name], "samples": samples}
        for key in _MEANS:
            # Of clips that do not move, the ratio of steps is NaN.
            values = np.array([row[key] for row in rows if math.isfinite(row[key])])
            entry[key] = float(values.mean()) if len(values) else math.nan
            entry[f"{key}_interval"] = bootstrap(values)
        hits = {
            "motion": sum(row["motion"] for row in rows),
            "content": sum(all(all(row[name]) for name in ATTRIBUTES) for row in rows),
        }
        for key, count in hits.items():
            entry[key] = 100 * count / samples
            entry[f"{key}_interval"] = tuple(100 * end for end in wilson(count, samples))
        entries.append(entry)
    return entries


def table(entries: list[dict[str, Any]]) -> str:
    """The entries as a Markdown table."""
    lines = [
        "| setting | first-frame MSE (0-255) | step 1-2 / later steps | mean step (0-255) "
        "| CLIP cosine to the picture | content of every frame | motion |",
        f"|{' --- |' * 7}",
    ]
    for entry in entries:
        cells = [entry["title"]]
        cells += [cell(entry, key, digits) for key, digits in _MEANS.items()]
        cells += [cell(entry, key, 0, " %") for key in ("content", "motion")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
