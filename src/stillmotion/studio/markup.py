"""Small pieces of the page.  Whatever people have written is escaped here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from stillmotion.queueing.views import ENDED, RUNNING, WAITING, Artifact, JobView

_MAX_TITLE = 90
_KINDS = {
    "draw": "Still", "animate": "Clip", "interpolate": "Clip between two pictures", "loop": "Loop",
    "edit": "Clip drawn anew", "story": "Story", "evaluate": "Scores",
}  # fmt: skip
_STATES = {
    "queued": "waits", "paused": "paused", "running": "is being made", "cancelling": "is stopping",
    "done": "done", "failed": "failed", "cancelled": "cancelled",
}  # fmt: skip
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)(?: [A-Z]+)?\b")
_LABELS = {
    "steps": "Steps", "frames": "Length in frames", "photograph": "By its pixels alone",
    "last-frame": "another picture", "loop": "loop", "seamless": "seamless loop",
    "motion-strength": "Strength", "time-travel": "Time travel", "prompt-at": "texts at frames",
    "towards": "What it becomes", "fps": "Frames a second", "scale": "Enlarge", "fit":
    "Photograph of another shape", "depth-model": "Depth model", "seed": "Seed", "look": "Look",
    "guidance": "Guidance", "model": "Model", "count": "How many", "negative":
    "What it must not show",
}  # fmt: skip
"""What the page calls the options that sentences name."""
_SHOWN_AS_PICTURES = ("image/",)
_SHOWN_AS_VIDEOS = ("video/",)


def element(tag: str, content: str = "", **attributes: str | bool | None) -> str:
    """`content` is markup; the values of attributes are text.  `class_` and `data_id` are written
    `class` and `data-id`; False and None leave an attribute out."""
    written = []
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {key}")
        elif value is not False and value is not None:
            written.append(f' {key}="{escape(value)}"')
    head = f"<{tag}{''.join(written)}>"
    return head if tag in ("img", "input") else f"{head}{content}</{tag}>"


def text(said: str) -> str:
    """Text as markup."""
    return escape(said)


def button(
    label: str, act: str, id_: str, *, name: str | None = None, ask: str | None = None,
    kind: str = "", pressed: bool | None = None, key: str = "",
) -> str:  # fmt: skip
    """A button that tells the page `act` and `id_`; `name` is what screen readers say.

    `ask`: a question that must be answered with yes before.
    """
    return element(
        "button", text(label), type="button", class_=f"sm-button {kind}".strip(), data_act=act,
        data_id=id_, data_ask=ask, aria_label=name, id=f"sm-{key or act}-{id_}",
        aria_pressed=None if pressed is None else str(pressed).lower(),
    )  # fmt: skip


def note(sentence: str, id_: str = "") -> str:
    """A sentence about what went wrong, told at once by screen readers; nothing for none."""
    if not sentence:
        return ""
    said = text(in_words(sentence))
    return element("p", said, class_="sm-note", role="alert", id=id_ or None)


def in_words(sentence: str) -> str:
    """A sentence that names options of the command line, with the names of fields: `--steps` ->
    `Steps`."""
    return _OPTION.sub(lambda found: _as_label(found.group(1)), sentence)


def _as_label(option: str) -> str:
    return f"“{_LABELS.get(option, option.replace('-', ' '))}”"


def hint(sentence: str) -> str:
    """What stands where there is nothing yet."""
    return element("p", text(sentence), class_="sm-hint")


def address(artifact: Artifact) -> str:
    """Where the file is shown from."""
    return f"/v1/artifacts/{artifact.id}?inline=true"


def picture(artifact: Artifact, alt: str) -> str:
    """A still or picture as it is."""
    return element(
        "img", src=address(artifact), alt=alt, width=_number(artifact.width),
        height=_number(artifact.height), class_="sm-media",
    )  # fmt: skip


def thumbnail(artifact: Artifact, alt: str) -> str:
    """A small picture of an artifact, or its name."""
    if not artifact.has_thumbnail:
        return element("span", text(artifact.name), class_="sm-media sm-nothing")
    return element(
        "img", src=f"/v1/artifacts/{artifact.id}/thumbnail", alt=alt, loading="lazy",
        class_="sm-media",
    )  # fmt: skip


def moving(artifact: Artifact, alt: str) -> str:
    """A clip that plays, as far as browsers play its format."""
    if artifact.content_type.startswith(_SHOWN_AS_VIDEOS):
        # The page's script starts it, unless less motion is wished for.
        return element(
            "video", src=address(artifact), aria_label=alt, controls=True, loop=True, muted=True,
            playsinline=True, preload="auto", class_="sm-media", width=_number(artifact.width),
            height=_number(artifact.height),
        )  # fmt: skip
    if artifact.content_type.startswith(_SHOWN_AS_PICTURES):
        return picture(artifact, alt)
    return thumbnail(artifact, alt)


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def prompt_of(job: JobView) -> str:
    """What a job was told, shortened; empty for nothing."""
    script = job.job.get("script") or {}
    said = str(job.job.get("prompt") or job.job.get("towards") or script.get("title") or "")
    return said if len(said) <= _MAX_TITLE else f"{said[: _MAX_TITLE - 1]}…"


def title_of(job: JobView) -> str:
    """`Still: a red balloon, seed 7`."""
    kind = _KINDS.get(job.kind, job.kind)
    if job.kind == "edit" and job.job.get("format") == "png":
        kind = "First frame"
    said, seed = prompt_of(job), job.job.get("seed")
    whole = f"{kind}: {said}" if said else kind
    return whole if seed is None else f"{whole}, seed {seed}"


def state_of(job: JobView, now: float) -> str:
    """`is being made, 40 %, about 12 s left`."""
    said = _STATES[job.state]
    if job.state != "running":
        return said
    if job.progress <= 0:
        return f"{said}: it begins"
    left = seconds_left(job, now)
    share = f"{said}, {100 * job.progress:.0f} %"
    return share if left is None else f"{share}, about {duration(left)} left"


def seconds_left(job: JobView, now: float) -> float | None:
    """By how long it took so far; None if that tells nothing yet."""
    if job.state != "running" or job.started_at is None or job.progress <= 0.02:
        return None
    return max(0.0, now - job.started_at) * (1 - job.progress) / job.progress


def duration(seconds: float) -> str:
    """`8 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def bar(job: JobView) -> str:
    """How far a job is."""
    if job.state not in RUNNING:
        return ""
    share = f"{100 * job.progress:.0f}"
    # A width as an attribute of `progress` needs no style of its own.
    return element(
        "progress", value=share, max="100", aria_label=f"{title_of(job)}: how far it is",
        class_="sm-bar",
    )  # fmt: skip


def preview(job: JobView, source: str, alt: str) -> str:
    """The latest preview of a running job, from the address `source`."""
    if not job.has_preview:
        return element("span", class_="sm-media sm-nothing", aria_hidden="true")
    return element("img", src=source, alt=alt, class_="sm-media sm-preview")


def cards(pieces: Iterable[str], label: str, kind: str = "") -> str:
    """A row that wraps."""
    inside = "".join(pieces)
    return element("ul", inside, class_=f"sm-cards {kind}".strip(), aria_label=label)


def waits(job: JobView) -> bool:
    return job.state in WAITING


def runs(job: JobView) -> bool:
    return job.state in RUNNING


def ended(job: JobView) -> bool:
    return job.state in ENDED
