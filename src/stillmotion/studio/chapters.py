"""The chapters of a film, from the file beside it, as buttons that jump there."""

from __future__ import annotations

import re
from html import unescape

from stillmotion.queueing.views import Artifact
from stillmotion.studio.desk import Desk
from stillmotion.studio.markup import element, text

_CUE = re.compile(r"^(\d+):(\d\d):(\d\d\.\d{3}) --> .*\n(.+)$", re.MULTILINE)


def chapter_list(desk: Desk, film: Artifact) -> str:
    """Where the film's chapters begin; nothing for a clip that has none."""
    files = [one for one in desk.library.companions(film.id) if one.kind == "chapters"]
    if not files:
        return ""
    told = desk.library.path(files[0].id).read_text(encoding="utf-8")
    items = [_item(film, number, *cue) for number, cue in enumerate(read_chapters(told), 1)]
    return element("ol", "".join(items), class_="sm-chapters", aria_label="Chapters")


def read_chapters(told: str) -> list[tuple[float, str]]:
    """When each chapter begins, in seconds, and its title, of a WebVTT file of ours."""
    return [
        (3600 * int(hours) + 60 * int(minutes) + float(seconds), unescape(title))
        for hours, minutes, seconds, title in _CUE.findall(told)
    ]


def _item(film: Artifact, number: int, begins: float, title: str) -> str:
    minutes, seconds = divmod(begins, 60)
    label = f"{int(minutes)}:{seconds:04.1f} {title}"
    jump = element(
        "button", text(label), type="button", class_="sm-button is-small",
        data_seek=f"{begins:.3f}", id=f"sm-chapter-{number}-{film.id}",
        aria_label=f"Play from {label}",
    )  # fmt: skip
    return element("li", jump)
