"""The scores of clips, as a table of the page."""

from __future__ import annotations

import json
from typing import Any

from stillmotion.evaluation.metrics.catalogue import CATALOGUE, title_of
from stillmotion.queueing.views import Artifact
from stillmotion.studio.desk import Desk
from stillmotion.studio.markup import element, hint, text

_BETTER = {"higher": "More is better.", "lower": "Less is better.", None: ""}


def scores_table(desk: Desk, scores: Artifact) -> str:
    """A row for each metric, a column for each clip."""
    try:
        told = json.loads(desk.library.path(scores.id).read_text(encoding="utf-8"))
        clips: list[dict[str, Any]] = told["clips"]
        found = {key for clip in clips for key in clip["metrics"]}
        names = {part: str(one["name"]) for part, one in told.get("extractors", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return hint("The scores cannot be read; download the file.")
    head = "".join(
        element("th", text(name), scope="col")
        for name in ("Metric", *(str(clip["name"]) for clip in clips))
    )
    keys = [key for key in CATALOGUE if key in found]
    rows = "".join(_row(key, names, [clip["metrics"] for clip in clips]) for key in keys)
    table = element("table", element("thead", element("tr", head)) + element("tbody", rows))
    return element("div", table, class_="sm-table", tabindex="0", role="group", aria_label="Scores")


def _row(key: str, names: dict[str, str], clips: list[dict[str, float | None]]) -> str:
    """`names`: of the networks that looked, which titles tell, as not all are a paper's."""
    metric = CATALOGUE[key]
    head = element(
        "th", text(title_of(key, names.get(metric.part or ""))), scope="row",
        title=f"{metric.meaning} {_BETTER[metric.better]}".strip(),
    )  # fmt: skip
    return element("tr", head + "".join(element("td", text(_number(key, c))) for c in clips))


def _number(key: str, metrics: dict[str, float | None]) -> str:
    """As reports write it; a metric that is not defined for a clip has no number."""
    value, metric = metrics.get(key), CATALOGUE[key]
    if value is None:
        return "exact" if key == "i1_psnr" and metrics.get("i1_mse") == 0 else "–"
    said = f"{100 * value if metric.share else value:.{metric.digits}f}"
    return f"{said} {'%' if metric.share else metric.unit}".strip()
