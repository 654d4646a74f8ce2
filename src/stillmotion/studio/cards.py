"""One still, clip, film, table of scores or unfinished job, as a card of the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stillmotion.jobs.fields import ClipFormat
from stillmotion.queueing.views import Artifact, JobView
from stillmotion.studio.chapters import chapter_list
from stillmotion.studio.desk import Desk
from stillmotion.studio.downloads import CONVERTED, convert_address, preview_address
from stillmotion.studio.markup import (
    bar,
    button,
    element,
    ended,
    hint,
    in_words,
    moving,
    note,
    picture,
    preview,
    state_of,
    text,
    title_of,
    waits,
)
from stillmotion.studio.memory import Memory
from stillmotion.studio.scores import scores_table

_FILES: dict[str, ClipFormat] = {"video/mp4": "mp4", "video/webm": "webm", "image/gif": "gif",
                                 "image/webp": "webp"}  # fmt: skip


@dataclass(frozen=True)
class Now:
    """One look at the queue: who looks, what the browser works on, and when."""

    desk: Desk
    memory: Memory
    at: float


def still_card(now: Now, artifact: Artifact, title: str) -> str:
    """A still that can be chosen, or be what clips end with."""
    chosen, is_end = artifact.id == now.memory.still, artifact.id == now.memory.end
    pick = element(
        "button", picture(artifact, title), type="button", class_="sm-pick", data_act="pick",
        data_id=artifact.id, id=f"sm-pick-{artifact.id}", aria_pressed=str(chosen).lower(),
        aria_label=f"Animate this: {title}",
    )  # fmt: skip
    label = "Chosen" if chosen else "Ends the clip" if is_end else ""
    actions = [
        button("End with it", "end", artifact.id, name=f"End the clip with: {title}",
               pressed=is_end, kind="is-small"),
        button("Settings", "settings", artifact.id, name=f"Settings of {title}", kind="is-small"),
    ]  # fmt: skip
    mark = element("span", text(label), class_="sm-mark") if label else ""
    body = f"{pick}{mark}{caption(title)}{action_row(actions)}"
    return element("li", body, class_="sm-card is-chosen" if chosen else "sm-card")


def unfinished_card(now: Now, job: JobView) -> str:
    """A job that has made nothing: it waits, runs, failed or was cancelled."""
    title = title_of(job)
    seen = (
        "" if ended(job) else preview(job, preview_address(job), f"{title}, as it seems to become")
    )
    body = seen + caption(title)
    body += element("p", text(state_of(job, now.at)), class_="sm-state") + bar(job)
    body += news_of(job)
    actions = []
    if waits(job) or job.state == "running":
        actions.append(button("Cancel", "cancel", job.id, name=f"Cancel {title}", kind="is-small"))
    if job.state in ("failed", "cancelled"):
        actions.append(button("Try again", "retry", job.id, name=f"Try again: {title}",
                              kind="is-small"))  # fmt: skip
        actions.append(button("Remove", "drop", job.id, name=f"Remove {title}", kind="is-small"))
    return element("li", body + action_row(actions), class_=f"sm-card is-{job.state}")


def news_of(job: JobView) -> str:
    """What a job has to tell: why it failed, or what is worth knowing."""
    if job.error:
        return note(job.error)
    return hint(in_words(job.message)) if job.message else ""


def caption(title: str) -> str:
    """What something is called."""
    return element("p", text(title), class_="sm-caption")


def action_row(buttons: Iterable[str]) -> str:
    """Buttons side by side; nothing for none."""
    inside = "".join(buttons)
    return element("div", inside, class_="sm-actions") if inside else ""


def source_card(artifact: Artifact, name: str) -> str:
    """What a clip was made of."""
    shown = moving(artifact, name) if artifact.kind == "clip" else picture(artifact, name)
    return element("li", shown + caption(name), class_="sm-card")


def result_card(now: Now, job: JobView, artifact: Artifact, beside: list[JobView]) -> str:
    """A clip, a film or scores, and what can be done with them."""
    title = title_of(job)
    is_clip = artifact.kind == "clip"
    seen = moving(artifact, title) if is_clip else scores_table(now.desk, artifact)
    frames = f", {artifact.num_frames} frames" if artifact.num_frames else ""
    body = seen + caption(f"{title}{frames}") + chapter_list(now.desk, artifact)
    body += _twin(now, job, artifact, beside)
    body += hint(in_words(job.message)) if job.message else ""
    verbs = [
        ("Show settings", "settings", artifact.id, f"Show settings of {title}"),
        ("Reproduce", "again", artifact.id, f"Reproduce {title}"),
        ("Remove", "drop", job.id, f"Remove {title} from this row"),
    ]
    if is_clip:
        name = f"Use the last frame of {title} as the next still"
        verbs.insert(0, ("Go on from the last frame", "last-frame", artifact.id, name))
    actions = [button(label, verb, id_, name=name, kind="is-small")
               for label, verb, id_, name in verbs]  # fmt: skip
    kind = "sm-card" if is_clip else "sm-card is-broad"
    return element("li", body + _downloads(now, artifact) + action_row(actions), class_=kind)


def _twin(now: Now, job: JobView, artifact: Artifact, beside: list[JobView]) -> str:
    """Of a clip that was reproduced: whether it has the very bytes of the first."""
    earlier = [
        other
        for other in beside
        if other.id != job.id and other.job == job.job and other.created_at < job.created_at
    ]
    made = [clip for other in earlier for clip in now.desk.mains(other)]
    if not made:
        return ""
    same = any(other.sha256 == artifact.sha256 for other in made)
    said = "The same, byte for byte, as the first one." if same else "Not the bytes of the first."
    return element("p", text(said), class_="sm-state")


def _downloads(now: Now, artifact: Artifact) -> str:
    """Links to the file as it is, in other formats, and to what belongs to it."""
    own = _FILES.get(artifact.content_type)
    links = [_link(f"As made ({artifact.name})", f"/v1/artifacts/{artifact.id}")]
    if artifact.kind == "clip":
        links += [
            _link(label, convert_address(artifact.id, name))
            for name, label in CONVERTED.items()
            if name != own
        ]
    for companion in now.desk.library.companions(artifact.id):
        links.append(_link(companion.name, f"/v1/artifacts/{companion.id}"))
    inside = element("summary", "Download") + element("ul", "".join(links))
    return element("details", inside, class_="sm-download", id=f"sm-download-{artifact.id}")


def _link(label: str, address: str) -> str:
    return element("li", element("a", text(label), href=address, download=True))


def name_of(desk: Desk, artifact: Artifact) -> str:
    """What its job was told, or the name of the file."""
    jobs = desk.jobs([artifact.job_id]) if artifact.job_id is not None else ()
    return title_of(jobs[0]) if jobs else artifact.name
