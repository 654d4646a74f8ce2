"""One number of one method with its interval, its place among others, and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stillmotion.evaluation.benchmark.folder import Sample
from stillmotion.evaluation.comparison import compare_paired, holm, mcnemar_exact
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.metrics.catalogue import Metric
from stillmotion.evaluation.metrics.distances import frechet_distance, kernel_distance
from stillmotion.evaluation.metrics.set_intervals import (
    difference_interval,
    frechet_interval,
    kernel_interval,
)
from stillmotion.evaluation.report.runs import Run

SIGNIFICANT = 0.05
_PSNR, _MSE = "i1_psnr", "i1_mse"
VIDEO, REAL = "video", "video-real"
"""Features of sets, as samples hold them."""
Verdict = Literal["better", "worse", "different"]
Features = Mapping[str, tuple[float, ...]]
"""By case."""
_DISTANCES = {
    "fvd": (frechet_distance, frechet_interval),
    "kvd": (kernel_distance, kernel_interval),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A metric of a method."""

    mean: float | None
    """Over `count` clips, or the distance of the whole set; None where there is nothing."""
    low: float | None
    high: float | None
    """95 % interval; None where there is none: of one clip."""
    count: int
    """Clips with a value."""
    undefined: int = 0
    """Clips without one, the exact ones not counted."""
    exact: int = 0
    """Clips with an infinite value: the PSNR of an exact frame."""
    place: int | None = None
    """1: best, 2: second best; ties share a place.  None: neither, or it cannot be said."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of a method minus that of another, over `count` cases of both."""

    key: str
    count: int
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    """Two-sided: sign-flip test of means, exact McNemar test of yes or no; None: of sets."""
    p_adjusted: float | None
    """Holm's, for all metrics of the two methods."""
    verdict: Verdict | None = None
    """"better" or "worse" than the other, if p_adjusted < 0.05 and the metric has a direction;
    "different" without one; None: not told from chance."""


def real_features(run: Run) -> dict[str, tuple[float, ...]]:
    """Features of the real clips by case, whichever method's sample holds them."""
    return {
        name: sample.features[REAL]
        for (_, name), sample in run.samples.items()
        if REAL in sample.features
    }


def mean_cell(samples: Sequence[Sample], metric: Metric) -> Cell:
    """Mean over clips; Wilson's interval of yes or no, else one by bootstrap over clips."""
    found = [_value(sample, metric.key) for sample in samples]
    values = np.array([value for value in found if value is not None], np.float64)
    exact = sum(is_exact(sample.metrics, metric.key) for sample in samples)
    low: float | None = None
    high: float | None = None
    if len(values) and metric.share and np.isin(values, (0, 1)).all():
        low, high = wilson(int(values.sum()), len(values))
    elif len(values) > 1:  # of one clip a bootstrap would claim to be certain
        low, high = bootstrap(values)
    return Cell(
        mean=float(values.mean()) if len(values) else None, low=low, high=high,
        count=len(values), undefined=len(samples) - len(values) - exact, exact=exact,
    )  # fmt: skip


def set_cell(
    samples: Sequence[Sample], real: Features, metric: Metric, *, with_interval: bool = True
) -> Cell:
    """A distance between the features of a method's clips and those of the real ones.

    Both sets are of the same cases: those that the method has finished and whose real clip is
    known.  The interval, of a delete-half jackknife, needs 8 of them and takes as long as 100
    distances.
    """
    distance, interval = _DISTANCES.get(metric.key, (None, None))
    names = [sample.case for sample in samples if VIDEO in sample.features and sample.case in real]
    if distance is None or interval is None or len(names) < 2:
        return Cell(mean=None, low=None, high=None, count=0, undefined=len(samples))
    made = _rows({sample.case: sample.features.get(VIDEO, ()) for sample in samples}, names)
    wanted = _rows(real, names)
    ends = interval(made, wanted, paired=True) if with_interval else (math.nan, math.nan)
    low, high = map(_finite, ends)
    return Cell(
        mean=distance(made, wanted), low=low, high=high, count=len(names),
        undefined=len(samples) - len(names),
    )  # fmt: skip


def placed(cells: Sequence[Cell], metric: Metric) -> tuple[Cell, ...]:
    """The cells with their places by the metric's direction; what is shown alike shares a place.

    Where all are alike, or there is one alone, none is best.
    Where only some clips of a method are exact, the mean of its others says too little: then
    nothing has a place but what is exact throughout.
    """
    worth = [_worth(cell, metric) for cell in cells]
    best = sorted({value for value in worth if value is not None}, reverse=True)[:2]
    if metric.better is None or len(best) < 2:
        return tuple(cells)
    if any(cell.exact and cell.count for cell in cells):
        best = [value for value in best if value == math.inf]
    return tuple(
        replace(cell, place=best.index(value) + 1) if value in best else cell
        for cell, value in zip(cells, worth, strict=True)
    )


def compare(
    pairs: Sequence[tuple[Sample, Sample]], real: Features, metrics: Sequence[Metric]
) -> tuple[Difference, ...]:
    """First minus second, for every metric that has a value for both of any pair.

    Args:
        pairs: samples of two methods of the same case.
        real: features of real clips by case.
        metrics: what is compared.
    """
    found = [
        (metric, _of_sets(pairs, real, metric) if metric.of_sets else _difference(pairs, metric))
        for metric in metrics
    ]
    kept = [(metric, one) for metric, one in found if one is not None]
    adjusted = holm([math.nan if one.p_value is None else one.p_value for _, one in kept])
    return tuple(
        replace(one, p_adjusted=_finite(p), verdict=_verdict(one.mean, p, metric))
        for (metric, one), p in zip(kept, adjusted, strict=True)
    )


def _of_sets(
    pairs: Sequence[tuple[Sample, Sample]], real: Features, metric: Metric
) -> Difference | None:
    """The difference of two distances; that of sets has no p-value."""
    distance, _ = _DISTANCES.get(metric.key, (None, None))
    known = [(one, other) for one, other in pairs
             if VIDEO in one.features and VIDEO in other.features and one.case in real]  # fmt: skip
    if distance is None or len(known) < 2:
        return None
    names = [one.case for one, _ in known]
    first, second = (
        _rows({sample.case: sample.features[VIDEO] for sample in some}, names)
        for some in zip(*known, strict=True)
    )
    wanted = _rows(real, names)
    low, high = map(_finite, difference_interval(distance, first, second, wanted, paired=True))
    return Difference(
        key=metric.key, count=len(names), mean=distance(first, wanted) - distance(second, wanted),
        low=low, high=high, p_value=None, p_adjusted=None,
    )  # fmt: skip


def _difference(pairs: Sequence[tuple[Sample, Sample]], metric: Metric) -> Difference | None:
    """Without correction and verdict; None if no pair has both values."""
    both = [(_value(one, metric.key), _value(other, metric.key)) for one, other in pairs]
    values = np.array([pair for pair in both if None not in pair], np.float64)
    if not len(values):
        return None
    found = compare_paired(values[:, 0], values[:, 1])
    p_value = found.p_value
    if metric.share and np.isin(values, (0, 1)).all():
        p_value = mcnemar_exact(*(values.T == 1).tolist())
    several = found.count > 1  # of one pair a bootstrap would claim to be certain
    return Difference(
        key=metric.key, count=found.count, mean=found.mean_difference,
        low=found.low if several else None, high=found.high if several else None,
        p_value=p_value, p_adjusted=p_value,
    )  # fmt: skip


def _verdict(mean: float, p_adjusted: float, metric: Metric) -> Verdict | None:
    if not p_adjusted < SIGNIFICANT or mean == 0:  # NaN where there is no p
        return None
    if metric.better is None:
        return "different"
    return "better" if (mean > 0) == (metric.better == "higher") else "worse"


def is_exact(metrics: Mapping[str, float | None], key: str) -> bool:
    """Whether a metric is the infinite PSNR of an exact frame, which files hold as None."""
    return key == _PSNR and metrics.get(_PSNR) is None and metrics.get(_MSE) == 0


def _value(sample: Sample, key: str) -> float | None:
    value = sample.metrics.get(key)
    return value if value is not None and math.isfinite(value) else None


def _worth(cell: Cell, metric: Metric) -> float | None:
    """What decides the place: more is better; rounded as it is shown."""
    if cell.exact and not cell.count:
        return math.inf
    if cell.mean is None:
        return None
    value = round(cell.mean * (100 if metric.share else 1), metric.digits)
    return value if metric.better == "higher" else -value


def _rows(features: Features, names: Sequence[str]) -> Tensor:
    return torch.tensor([features[name] for name in names])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
