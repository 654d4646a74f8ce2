"""Means and intervals as SVG: a panel for each metric, a row for each method.

Colours and fonts come from the page's style sheet, so that a panel follows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillmotion.evaluation.report.numbers import heading, interval, of_cell
from stillmotion.evaluation.report.summary import Column, Line, Table

_WIDTH, _MARGIN = 360, 22
_TOP, _ROW, _BOTTOM = 26, 32, 24
_MAX_NAME, _MAX_TITLE = 52, 46
"""Letters that fit."""
LEGEND = "Dots are means, lines 95 % intervals; the best mean is filled."


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    digits: int

    def at(self, value: float) -> float:
        """Position in the panel."""
        share = (value - self.low) / (self.high - self.low)
        return _MARGIN + share * (_WIDTH - 2 * _MARGIN)


def panels(table: Table, columns: Sequence[Column]) -> list[Markup]:
    """One panel for each metric that two methods or more have."""
    enough = [line for line in table.lines if sum(c.mean is not None for c in line.cells) > 1]
    return [_panel(line, columns) for line in enough]


def _panel(line: Line, columns: Sequence[Column]) -> Markup:
    scale = 100 if line.metric.share else 1
    values = [scale * value for cell in line.cells
              for value in (cell.mean, cell.low, cell.high) if value is not None]  # fmt: skip
    axis = _axis(min(values), max(values))
    height = _TOP + _ROW * len(columns) + _BOTTOM
    parts = [
        Markup('<svg class="panel" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(
            _WIDTH, height, _in_words(line, columns)
        ),
        Markup('<text class="panel-title" x="0" y="14">{}</text>').format(
            _short(heading(line.metric), _MAX_TITLE)
        ),
        *_grid(axis, height, " %" if line.metric.share else ""),
    ]
    for index, column in enumerate(columns):
        parts += _row(line, index, column, axis)
    return Markup("").join([*parts, Markup("</svg>")])


def _grid(axis: _Axis, height: int, unit: str) -> list[Markup]:
    parts = []
    for tick in axis.ticks:
        x = f"{axis.at(tick):.1f}"
        parts.append(
            Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                x, _TOP, height - _BOTTOM + 6
            )
        )
        text = f"{tick:.{axis.digits}f}".replace("-", "−") + unit
        parts.append(
            Markup('<text class="tick" x="{}" y="{}">{}</text>').format(x, height - 8, text)
        )
    return parts


def _row(line: Line, index: int, column: Column, axis: _Axis) -> list[Markup]:
    cell = line.cells[index]
    scale = 100 if line.metric.share else 1
    y = _TOP + _ROW * index + 20
    kind = "best" if cell.place == 1 else "other"
    name = Markup('<text class="name {}" x="0" y="{}"><title>{}</title>{}</text>').format(
        kind, y - 8, column.title, _short(column.title, _MAX_NAME)
    )
    if cell.mean is None:
        note = Markup('<text class="tick" x="{}" y="{}">{}</text>')
        return [name, note.format(_WIDTH // 2, y + 3, of_cell(cell, line.metric))]
    parts = [name]
    if cell.low is not None and cell.high is not None:
        ends = (f"{axis.at(scale * end):.1f}" for end in (cell.low, cell.high))
        whisker = Markup('<line class="whisker {0}" x1="{1}" x2="{2}" y1="{3}" y2="{3}"/>')
        parts.append(whisker.format(kind, *ends, y))
    dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{}" r="4"/>')
    return [*parts, dot.format(kind, axis.at(scale * cell.mean), y)]


def _in_words(line: Line, columns: Sequence[Column]) -> str:
    """The panel for who cannot see it."""
    metric = line.metric
    said = [
        f"{column.title} {of_cell(cell, metric)} {interval(cell.low, cell.high, metric)}".strip()
        for column, cell in zip(columns, line.cells, strict=True)
    ]
    return f"{heading(metric)}: {'; '.join(said)}"


def _axis(low: float, high: float) -> _Axis:
    """About three round ticks, and a little room on either side."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        room = abs(high) or 1.0
        low, high = low - room / 2, high + room / 2
    room = 0.06 * (high - low)
    start, end = low - room, high + room
    step = 10.0 ** math.floor(math.log10((end - start) / 2))
    step *= next((m for m in (5, 2) if (end - start) / (step * m) >= 2), 1)
    first = math.ceil(start / step)
    ticks = tuple(step * i for i in range(first, math.floor(end / step) + 1))
    return _Axis(start, end, ticks, max(0, -math.floor(math.log10(step) + 1e-9)))


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
