"""Numbers as tables show them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from stillmotion.evaluation.metrics.catalogue import Metric
from stillmotion.evaluation.report.statistics import Cell, Difference, is_exact

NOTHING = "–"
_ARROWS = {"higher": "↑", "lower": "↓", None: ""}
_IN_WORDS = {"higher": "higher is better", "lower": "lower is better", None: "no better side"}


def shown(value: float, metric: Metric) -> str:
    """A value: "0.331", "−1.20", and of shares "83.3 %"."""
    text = f"{_scaled(value, metric):.{metric.digits}f}"
    return f"{_signed(text)} %" if metric.share else _signed(text)


def interval(low: float | None, high: float | None, metric: Metric) -> str:
    """An interval: "[0.320, 0.342]"; empty if there is none."""
    if low is None or high is None:
        return ""
    ends = (_signed(f"{_scaled(end, metric):.{metric.digits}f}") for end in (low, high))
    return f"[{', '.join(ends)}]"


def of_cell(cell: Cell, metric: Metric) -> str:
    """The mean of a cell; "exact" where a PSNR is infinite."""
    if cell.mean is None:
        return "exact" if cell.exact else NOTHING
    return shown(cell.mean, metric)


def of_sample(metrics: Mapping[str, float | None], metric: Metric) -> str:
    """A metric of one clip."""
    value = metrics.get(metric.key)
    if value is None or not math.isfinite(value):
        return "exact" if is_exact(metrics, metric.key) else NOTHING
    return shown(value, metric)


def remark(cell: Cell, num_cases: int) -> str:
    """How many clips a cell rests on, where it is not all: "n = 9", "n = 9, 3 exact"."""
    parts = []
    if cell.count and cell.count != num_cases:
        parts.append(f"n = {cell.count}")
    if cell.exact and (cell.count or cell.exact != num_cases):
        parts.append(f"{cell.exact} exact")
    return ", ".join(parts)


def of_difference(difference: Difference, metric: Metric) -> str:
    """A difference with its sign: "+0.012"; of shares in percentage points."""
    text = shown(difference.mean, metric).removesuffix(" %")
    if difference.mean > 0 and float(text.replace("−", "-")) != 0:
        text = f"+{text}"
    return f"{text} points" if metric.share else text


def probability(value: float | None) -> str:
    """A p-value: "0.031", "< 0.001"."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def published(values: tuple[float, float] | None) -> str:
    """A paper's two values: "0.867 / 0.808"."""
    return NOTHING if values is None else " / ".join(f"{value:g}" for value in values)


def short_identity(identity: str) -> str:
    """The beginning of a sha256; what is none, such as "opencv 5.0.0", whole."""
    return identity[:12] if re.fullmatch(r"[0-9a-f]{64}", identity) else identity


def heading(metric: Metric) -> str:
    """Title, unit and direction: "I1-PSNR (dB) ↑"."""
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.title}{unit} {_ARROWS[metric.better]}".rstrip()


def direction(metric: Metric) -> str:
    """Which side is better, in words."""
    return _IN_WORDS[metric.better]


def _scaled(value: float, metric: Metric) -> float:
    return 100 * value if metric.share else value


def _signed(text: str) -> str:
    """With a true minus, and none before a zero."""
    return text.replace("-", "−" if any(digit in "123456789" for digit in text) else "")
