"""Plots as SVG files that stand alone, and follow the reader's light or dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH = 720
_NAMES = 300
"""Room for names beside bars."""
_ROW, _TOP, _BOTTOM, _RIGHT = 30, 40, 34, 24
_HEIGHT, _LEFT = 360, 70
_MAX_NAME = 46
"""Letters that fit."""
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}"
    ".tick{font-size:11px;fill:#666}.grid{stroke:#ddd}.whisker{stroke:#222;stroke-width:1.5}"
    ".k0{fill:#2a6fb0;stroke:#2a6fb0}.k1{fill:#c26a1b;stroke:#c26a1b}"
    ".k2{fill:#3f8f4f;stroke:#3f8f4f}.k3{fill:#8a8a8a;stroke:#8a8a8a}"
    "path{fill:none!important;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.tick{fill:#aaa}.grid{stroke:#444}"
    ".whisker{stroke:#ddd}}"
)
_KINDS = 4


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A value with its spread."""

    name: str
    value: float
    low: float
    high: float
    kind: int = 0
    """Which colour, from 0."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points that belong together, x ascending."""

    name: str
    points: tuple[tuple[float, float], ...]


def bars(title: str, rows: Sequence[Bar], unit: str) -> str:
    """Horizontal bars from 0, with whiskers from `low` to `high`."""
    height = _TOP + _ROW * len(rows) + _BOTTOM
    ticks = ticks_to(max((row.high for row in rows), default=1.0))

    def at(value: float) -> float:
        return _NAMES + (_WIDTH - _NAMES - _RIGHT) * value / ticks[-1]

    parts = [_text(0, 18, title, "title")]
    for tick in ticks:
        parts.append(_line(at(tick), at(tick), _TOP - 6, height - _BOTTOM + 4, "grid"))
        parts.append(_text(at(tick), height - 12, f"{tick:g} {unit}", "tick", "middle"))
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number
        parts.append(_text(_NAMES - 8, y + 17, _short(row.name), "name", "end"))
        parts.append(
            Markup('<rect class="k{}" x="{}" y="{}" width="{:.1f}" height="18"/>').format(
                row.kind % _KINDS, _NAMES, y + 3, at(row.value) - _NAMES
            )
        )
        parts.append(_line(at(row.low), at(row.high), y + 12, y + 12, "whisker"))
    said = "; ".join(f"{row.name} {row.value:.3g} {unit}" for row in rows)
    return _svg(parts, height, f"{title}: {said}")


def lines(title: str, series: Sequence[Series], x_unit: str, y_unit: str) -> str:
    """Lines through points, both axes from 0."""
    points = [point for one in series for point in one.points]
    x_ticks = ticks_to(max((x for x, _ in points), default=1.0))
    y_ticks = ticks_to(max((y for _, y in points), default=1.0))
    bottom = _HEIGHT - _BOTTOM - 10

    def place(x: float, y: float) -> tuple[float, float]:
        across = (_WIDTH - _LEFT - _RIGHT) * x / x_ticks[-1]
        return _LEFT + across, bottom - (bottom - _TOP) * y / y_ticks[-1]

    parts = [_text(0, 18, title, "title")]
    for tick in x_ticks:
        x, _ = place(tick, 0)
        parts.append(_line(x, x, _TOP, bottom, "grid"))
        parts.append(_text(x, bottom + 16, f"{tick:g}", "tick", "middle"))
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(_line(_LEFT, _WIDTH - _RIGHT, y, y, "grid"))
        parts.append(_text(_LEFT - 8, y + 4, f"{tick:g}", "tick", "end"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - 6, x_unit, "tick", "end"))
    parts.append(_text(4, _TOP - 6, y_unit, "tick"))
    for number, one in enumerate(series):
        parts += _curve(one, number, place)
    said = "; ".join(
        f"{one.name}: {', '.join(f'{x:g} {y:.3g}' for x, y in one.points)}" for one in series
    )
    return _svg(parts, _HEIGHT, f"{title}, {x_unit} and {y_unit}: {said}")


def ticks_to(largest: float) -> tuple[float, ...]:
    """About four round numbers from 0 to at least `largest`."""
    if not largest > 0:
        return 0.0, 1.0
    step = 10.0 ** math.floor(math.log10(largest))
    step *= next(m for m in (0.25, 0.5, 1, 2) if largest <= 5 * step * m)
    return tuple(step * number for number in range(math.ceil(largest / step - 1e-9) + 1))


def _curve(
    one: Series, number: int, place: Callable[[float, float], tuple[float, float]]
) -> list[Markup]:
    kind = number % _KINDS
    placed = [place(*point) for point in one.points]
    steps = " L ".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    dot = Markup('<circle class="k{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>')
    y = _TOP + 14 + 20 * number
    return [
        Markup('<path class="k{}" d="M {}"/>').format(kind, steps),
        *(dot.format(kind, *point) for point in placed),
        dot.format(kind, _LEFT + 16, y - 4),
        _text(_LEFT + 28, y, _short(one.name), "name"),
    ]


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> Markup:
    form = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    return form.format(kind, x, y, anchor, words)


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> Markup:
    form = Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>')
    return form.format(kind, x1, x2, y1, y2)


def _svg(parts: Sequence[Markup], height: int, said: str) -> str:
    form = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
        'role="img" aria-label="{2}"><style>{3}</style>{4}</svg>\n'
    )
    return str(form.format(_WIDTH, height, said, Markup(_STYLE), Markup("").join(parts)))


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
