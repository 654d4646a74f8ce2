"""DynamiCrafter's Table 4 and Fig. 5b as numbers, on models of the miniature's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from stillmotion.evaluation.ablation import cell
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.metrics.distances import frechet_distance, kernel_distance
from stillmotion.evaluation.run import Plan, measure
from stillmotion.evaluation.video_measure import JUDGE, looking_folder, real_clips
from stillmotion.miniature.judge import ATTRIBUTES, Judge
from stillmotion.models.description import read_description
from stillmotion.models.registry import part_path

TITLES = {
    "full": "full method",
    "without-context": "without context",
    "without-detail-guidance": "without detail guidance",
    "without-gate": "without λ",
    "global-token": "global token only",
    "train-everything": "everything fine-tuned",
    "first-frame": "first frame as condition",
    "one-stage": "one stage for P, as many steps",
}
PUBLISHED = {
    "full": (234.66, 0.5803),
    "without-context": (372.80, 0.4916),
    "without-detail-guidance": (159.24, 0.6945),
    "without-gate": (241.38, 0.5708),
    "global-token": (286.84, 0.5717),
    "train-everything": (364.11, 0.5564),
    "first-frame": (309.23, 0.5673),
}
"""FVD and PIC of Table 4, on MSR-VTT; Fig. 5b has no numbers."""
Tick = Callable[[], None]


def measure_ablation(plan: Plan, samples: int, tick: Tick | None = None) -> dict[str, Any]:
    """What Table 4 tells of one model, in our terms, with 95 % intervals where there are some."""
    rows = measure(plan, "picture/nothing", samples, tick)
    says = read_description(plan.model_folder)
    judge = Judge.load(part_path(looking_folder(plan.model_folder), JUDGE))
    real = real_clips(judge, says.height, says.num_frames, samples)
    made = torch.tensor([row["features"] for row in rows])
    several = samples > 1
    entry: dict[str, Any] = {
        "samples": samples,
        "fvd_judge": frechet_distance(made, real) if several else math.nan,
        "kvd_judge": kernel_distance(made, real) if several else math.nan,
    }
    for key in ("conformity", "mean_step"):
        values = np.array([row[key] for row in rows])
        entry[key], entry[f"{key}_interval"] = float(values.mean()), bootstrap(values)
    shares = {"motion": [row["motion"] for row in rows]}
    shares["content"] = [all(all(row[name]) for name in ATTRIBUTES) for row in rows]
    for key, hits in shares.items():
        entry[key] = 100 * sum(hits) / samples
        entry[f"{key}_interval"] = tuple(100 * end for end in wilson(sum(hits), samples))
    return entry


def orderings(entries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each ablation that is published: whether it lies on the same side of the full method.

    By the sign of differences alone; `fvd` compares FVD with FVD-judge, `pic` PIC with conformity.
    """
    compared = []
    for name, (fvd, pic) in PUBLISHED.items():
        if name == "full" or name not in entries or "full" not in entries:
            continue
        ours, full = entries[name], entries["full"]
        compared.append(
            {
                "ablation": name,
                "fvd": _same_side(fvd - PUBLISHED["full"][0], ours["fvd_judge"], full["fvd_judge"]),
                "pic": _same_side(pic - PUBLISHED["full"][1], ours["conformity"],
                                  full["conformity"]),
            }
        )  # fmt: skip
    return compared


def _same_side(published: float, ours: float, full: float) -> bool:
    return (published > 0) == (ours - full > 0)


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown tables: the numbers, and which of the paper's orderings hold."""
    lines = [
        "| ablation | FVD-judge | KVD-judge | CLIP cosine to the picture | content of every frame "
        "| motion | mean step (0-255) | paper: FVD | PIC |",
        f"|{' --- |' * 9}",
    ]
    for name, entry in entries.items():
        fvd, pic = PUBLISHED.get(name, (None, None))
        cells = [
            TITLES[name],
            f"{entry['fvd_judge']:.2f}",
            f"{entry['kvd_judge']:.3f}",
            cell(entry, "conformity", 3),
            cell(entry, "content", 0, " %"),
            cell(entry, "motion", 0, " %"),
            cell(entry, "mean_step", 2),
            "–" if fvd is None else f"{fvd:.2f}",
            "–" if pic is None else f"{pic:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    compared = orderings(entries)
    if compared:
        lines += [
            "",
            "| against the full method, as published? | FVD | PIC |",
            "| --- | --- | --- |",
        ]
        for row in compared:
            answers = ["holds" if row[key] else "does not" for key in ("fvd", "pic")]
            lines.append(f"| {TITLES[row['ablation']]} | {' | '.join(answers)} |")
    return "\n".join(lines)
