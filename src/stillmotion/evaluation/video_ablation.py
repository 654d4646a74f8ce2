"""DynamiCrafter's Table 4 and Fig. 5b as numbers, on models of the miniature's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.evaluation.ablation import cell
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.metrics.distances import frechet_distance, kernel_distance
from stillmotion.evaluation.metrics.set_intervals import difference_interval
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
Ordering = Literal["holds", "does not", "not told apart"]
"""Whether an ablation is better or worse than the full method as published: by the 95 % interval of
the difference over the same scenes; "not told apart" if 0 lies within."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ablated:
    """One model as measured."""

    told: dict[str, Any]
    """A row of the table, with 95 % intervals where there are some."""
    conformity: NDArray[np.float64]
    """(n), of each scene."""
    features: Tensor
    """Of its clips (n d)."""
    real: Tensor
    """Of the scenes themselves (n d)."""


def measure_ablation(plan: Plan, samples: int, tick: Tick | None = None) -> Ablated:
    """What Table 4 tells of one model, in our terms."""
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
    conformity = np.array([row["conformity"] for row in rows])
    return Ablated(told=entry, conformity=conformity, features=made, real=real)


def orderings(measured: Mapping[str, Ablated]) -> list[dict[str, str]]:
    """For each ablation that is published: whether it lies on the same side of the full method.

    `fvd` compares FVD with FVD-judge, `pic` PIC with conformity, each an `Ordering`.
    """
    compared = []
    for name, (fvd, pic) in PUBLISHED.items():
        if name == "full" or name not in measured or "full" not in measured:
            continue
        ours, full = measured[name], measured["full"]
        further = difference_interval(
            frechet_distance, ours.features, full.features, ours.real, paired=True
        )
        nearer = bootstrap(ours.conformity - full.conformity)
        compared.append(
            {
                "ablation": name,
                "fvd": _ordering(fvd - PUBLISHED["full"][0], further),
                "pic": _ordering(pic - PUBLISHED["full"][1], nearer),
            }
        )
    return compared


def _ordering(published: float, interval: tuple[float, float]) -> Ordering:
    low, high = interval
    if not (low > 0 or high < 0):  # so also for NaN, of too few clips
        return "not told apart"
    return "holds" if (published > 0) == (low > 0) else "does not"


def table(measured: Mapping[str, Ablated], compared: Sequence[Mapping[str, str]]) -> str:
    """Markdown tables: the numbers, and which of the paper's `orderings` hold."""
    lines = [
        "| ablation | FVD-judge | KVD-judge | CLIP cosine to the picture | content of every frame "
        "| motion | mean step (0-255) | paper: FVD | PIC |",
        f"|{' --- |' * 9}",
    ]
    for name, one in measured.items():
        entry = one.told
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
    if compared:
        lines += [
            "",
            "| against the full method, as published? | FVD | PIC |",
            "| --- | --- | --- |",
        ]
        for row in compared:
            lines.append(f"| {TITLES[row['ablation']]} | {row['fvd']} | {row['pic']} |")
    return "\n".join(lines)
