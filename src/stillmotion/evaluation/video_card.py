"""The card of the miniature's DynamiCrafter models: what is measured, and the bars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stillmotion.evaluation.card import Line, counted
from stillmotion.evaluation.intervals import bootstrap
from stillmotion.evaluation.measure import Row
from stillmotion.evaluation.run import Plan, measure
from stillmotion.miniature.judge import ATTRIBUTES

Tick = Callable[[], None]
_FRAMES_BAR, _MOTION_BAR = 85, 60
_WITHOUT_SAMPLES = 25
"""Of each; what keeping back the picture does is large."""
_WITHOUT = {
    "without-context": "without context",
    "without-guidance": "without detail guidance",
    "without-either": "without either",
}

ABOUT_PICTURES = """# The miniature DynamiCrafter

DynamiCrafter's structure at the size of the miniature around it, with which it shares VAE and CLIP:
a text-to-video model of the procedural world in all looks, taught by the paper's three stages to
animate a given picture.  It reads text by an encoder that has learned from clips.
"""
ABOUT_ENDS = """# The miniature DynamiCrafter between two pictures

The interpolating variant of the miniature DynamiCrafter: it is given the first and the last frame.
"""


def num_video_measurements(samples: int, *, interpolates: bool) -> int:
    """How often `measure_video_card` ticks."""
    if interpolates:
        return samples
    return samples + len(_WITHOUT) * min(samples, _WITHOUT_SAMPLES)


def measure_video_card(plan: Plan, samples: int, tick: Tick, *, interpolates: bool) -> list[Line]:
    """All lines of the card, with `samples` clips."""
    if interpolates:
        rows = measure(plan, "ends", samples, tick)
        end = _mean("CLIP cosine of the last frame to the one given", [r["end"] for r in rows], 0.9)
        return [*_judged(rows), end]
    rows = measure(plan, "picture/nothing", samples, tick)
    told = [row["conformity"] for row in rows]
    fewer = {
        name: [
            row["conformity"]
            for row in measure(plan, f"picture/{name}", min(samples, _WITHOUT_SAMPLES), tick)
        ]
        for name in _WITHOUT
    }
    bar = float(np.mean(fewer["without-either"]))
    lines = [*_judged(rows), _mean("CLIP cosine of the frames to the picture", told, bar)]
    for name, words in _WITHOUT.items():
        more = [mine - theirs for mine, theirs in zip(told, fewer[name], strict=False)]
        lines.append(_mean(f"the same, above that of the model {words}", more, 0.0))
    return lines


def _judged(rows: list[Row]) -> list[Line]:
    lines = []
    for name in ATTRIBUTES:
        lines.append(counted(f"{name} of every frame", (all(r[name]) for r in rows), _FRAMES_BAR))
    for name in ATTRIBUTES:
        shares = [100 * float(np.mean(row[name])) for row in rows]
        lines.append(_mean(f"{name}, mean over frames", shares, _FRAMES_BAR, "%"))
    lines.append(counted("motion", (row["motion"] for row in rows), _MOTION_BAR))
    return lines


def _mean(what: str, values: list[float], bar: float, unit: str = "") -> Line:
    low, high = bootstrap(np.array(values))
    return Line(what, float(np.mean(values)), bar, low, high, len(values), unit)
