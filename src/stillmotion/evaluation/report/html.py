"""A report as one page that asks for nothing else: no font, no script, no picture from elsewhere.

Words that people have written (prompts, names, settings) are escaped by the template engine, and
a policy in the page lets a browser run this module's script alone: what slipped through would
still do nothing, and nothing can be sent or fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from stillmotion.evaluation.report import numbers, plots
from stillmotion.evaluation.report.gallery import Gallery, Showing

if TYPE_CHECKING:
    from jinja2 import Template

    from stillmotion.evaluation.report.summary import Summary

_LARGEST_CELL = 256
_USUAL_CELL = 192
"""Widths of a clip on the page, in pixels of the page."""


def html(summary: Summary, gallery: Gallery) -> str:
    """The page, complete."""
    style = f":root{{--clip:{_cell_width(gallery)}px}}\n{_page_file('report.css')}"
    script = _page_file("report.js")
    return _template().render(
        summary=summary,
        gallery=gallery,
        panels=plots.panels(summary.tables[0], summary.columns),
        plot_legend=plots.LEGEND,
        groups=list(dict.fromkeys(row.case.group for row in gallery.rows)),
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        num=numbers,
        settings_of=lambda column: _settings(column.settings),
        settings_of_run=lambda run: _settings(run.facts),
        numbers_of=lambda showing: _numbers_of(showing, summary),
    )


def _policy(style: str, script: str) -> str:
    """What a browser may do for the page: show embedded pictures, and run and style by these."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _page_file(name: str) -> str:
    # A stray carriage return would be one more newline to a browser, and another digest.
    return (files(__package__) / "page" / name).read_text(encoding="utf-8").replace("\r", "")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_page_file("report.html"))


def _cell_width(gallery: Gallery) -> int:
    """Of a clip on the page: small ones enlarged by a whole number, so that pixels stay squares."""
    widest = max((one.strip.width for one in gallery.showings() if one.strip), default=_USUAL_CELL)
    return widest * (_USUAL_CELL // widest) if widest < _USUAL_CELL else min(widest, _LARGEST_CELL)


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as text."""
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in settings.items()
    ]


def _numbers_of(showing: Showing, summary: Summary) -> list[tuple[str, str]]:
    """What was measured of one clip: title and value."""
    if showing.sample is None:
        return []
    found = showing.sample.metrics
    known = [line.metric for line in summary.tables[0].lines if line.metric.key in found]
    return [(numbers.heading(metric), numbers.of_sample(found, metric)) for metric in known]
