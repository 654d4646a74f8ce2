"""What the page shows of the queue and the library: each board is one piece of markup."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stillmotion.jobs.fields import ClipFormat
from stillmotion.queueing.views import Artifact, JobView
from stillmotion.studio.desk import Desk
from stillmotion.studio.downloads import CONVERTED, convert_address, preview_address
from stillmotion.studio.markup import (
    bar,
    button,
    cards,
    element,
    ended,
    hint,
    in_words,
    moving,
    note,
    picture,
    preview,
    runs,
    state_of,
    text,
    thumbnail,
    title_of,
    waits,
)
from stillmotion.studio.memory import Memory

_RECENT = 6
"""Ended jobs that the queue still shows."""
_NO_STILLS = "Nothing is drawn yet. Say in step 1 what the still is to show."
_NO_CLIPS = "Nothing is animated yet. Choose a still, and say in step 3 how it should move."
_NO_JOBS = "Nothing waits and nothing runs."
_NO_HISTORY = "Nothing was made yet."
_FILES: dict[str, ClipFormat] = {"video/mp4": "mp4", "video/webm": "webm", "image/gif": "gif",
                                 "image/webp": "webp"}  # fmt: skip


@dataclass(frozen=True)
class Now:
    """One look at the queue: who looks, what the browser works on, and when."""

    desk: Desk
    memory: Memory
    at: float


def stills_board(now: Now) -> str:
    """The row of stills: those there are, and those that are being made."""
    pieces = []
    shown: set[str] = set()
    for job in now.desk.jobs(now.memory.drawn):
        mains = now.desk.mains(job)
        shown |= {artifact.id for artifact in mains}
        pieces += [_still_card(now, artifact, title_of(job)) for artifact in mains]
        if not mains:
            pieces.append(_unfinished_card(now, job))
    for artifact_id in dict.fromkeys((now.memory.still, now.memory.end)):
        extra = now.desk.found(artifact_id)
        if extra is not None and extra.id not in shown:
            pieces.insert(0, _still_card(now, extra, _name_of(now.desk, extra)))
    return cards(pieces, "Stills") if pieces else hint(_NO_STILLS)


def _still_card(now: Now, artifact: Artifact, title: str) -> str:
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
    body = f"{pick}{mark}{_caption(title)}{_actions(actions)}"
    return element("li", body, class_="sm-card is-chosen" if chosen else "sm-card")


def _unfinished_card(now: Now, job: JobView) -> str:
    """A job that has made nothing: it waits, runs, failed or was cancelled."""
    title = title_of(job)
    seen = (
        "" if ended(job) else preview(job, preview_address(job), f"{title}, as it seems to become")
    )
    body = seen + _caption(title)
    body += element("p", text(state_of(job, now.at)), class_="sm-state") + bar(job)
    body += _said(job)
    actions = []
    if waits(job) or job.state == "running":
        actions.append(button("Cancel", "cancel", job.id, name=f"Cancel {title}", kind="is-small"))
    if job.state in ("failed", "cancelled"):
        actions.append(button("Try again", "retry", job.id, name=f"Try again: {title}",
                              kind="is-small"))  # fmt: skip
        actions.append(button("Remove", "drop", job.id, name=f"Remove {title}", kind="is-small"))
    return element("li", body + _actions(actions), class_=f"sm-card is-{job.state}")


def _said(job: JobView) -> str:
    """What a job has to tell: why it failed, or what is worth knowing."""
    if job.error:
        return note(job.error)
    return hint(in_words(job.message)) if job.message else ""


def _caption(title: str) -> str:
    return element("p", text(title), class_="sm-caption")


def _actions(buttons: Iterable[str]) -> str:
    inside = "".join(buttons)
    return element("div", inside, class_="sm-actions") if inside else ""


def clips_board(now: Now) -> str:
    """Clips beside the stills that they were made of."""
    groups: dict[str, list[JobView]] = {}
    for job in now.desk.jobs(now.memory.made):
        still = job.job.get("still") or {}
        groups.setdefault(str(still.get("artifact") or ""), []).append(job)
    if not groups:
        return hint(_NO_CLIPS)
    return "".join(_group(now, still, jobs) for still, jobs in groups.items())


def _group(now: Now, still_id: str, jobs: list[JobView]) -> str:
    pieces = []
    still = now.desk.found(still_id)
    if still is not None:
        body = picture(still, "The still") + _caption("The still")
        pieces.append(element("li", body, class_="sm-card"))
    for job in jobs:
        mains = now.desk.mains(job)
        pieces += [_clip_card(now, job, artifact, jobs) for artifact in mains]
        if not mains:
            pieces.append(_unfinished_card(now, job))
    return cards(pieces, "The still and its clips", "is-wide")


def _clip_card(now: Now, job: JobView, artifact: Artifact, beside: list[JobView]) -> str:
    title = title_of(job)
    frames = f", {artifact.num_frames} frames" if artifact.num_frames else ""
    body = (
        moving(artifact, title) + _caption(f"{title}{frames}") + _twin(now, job, artifact, beside)
    )
    body += hint(in_words(job.message)) if job.message else ""
    actions = [
        button("Go on from the last frame", "last-frame", artifact.id, kind="is-small",
               name=f"Use the last frame of {title} as the next still"),
        button("Show settings", "settings", artifact.id, kind="is-small",
               name=f"Show settings of {title}"),
        button("Reproduce", "again", artifact.id, kind="is-small", name=f"Reproduce {title}"),
        button("Remove", "drop", job.id, kind="is-small", name=f"Remove {title} from this row"),
    ]  # fmt: skip
    return element("li", body + _downloads(now, artifact) + _actions(actions), class_="sm-card")


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


def queue_board(now: Now) -> str:
    """Jobs that run, that wait in their order, and the last that ended."""
    queue, owner = now.desk.queue, now.desk.owner
    state = queue.state()
    running = queue.list(states=("running", "cancelling"), owner=owner).jobs
    waiting = queue.waiting(owner=owner)
    over = queue.list(states=("failed", "cancelled", "done"), owner=owner, limit=_RECENT).jobs
    rows = [_job_row(now, job) for job in (*running[::-1], *waiting, *over)]
    said = f"{len(running)} running, {len(waiting)} waiting."
    if state.paused:
        said += " The queue is paused: what runs goes on, nothing else begins."
    head = element("p", text(said), class_="sm-state")
    if now.desk.principal.admin:
        label, act = ("Go on", "resume-all") if state.paused else ("Pause the queue", "pause-all")
        head += button(label, act, "queue", kind="is-small")
    body = element("ol", "".join(rows), class_="sm-jobs", aria_label="Jobs") if rows else ""
    return element("div", head, class_="sm-head") + (body or hint(_NO_JOBS))


def _job_row(now: Now, job: JobView) -> str:
    title = title_of(job)
    verbs: list[tuple[str, str]] = []
    if waits(job):
        verbs = [("Sooner", "sooner"), ("Later", "later"), ("Edit", "edit")]
        verbs.append(("Go on", "resume") if job.state == "paused" else ("Pause", "pause"))
    if waits(job) or job.state == "running":
        verbs.append(("Cancel", "cancel"))
    if job.state in ("failed", "cancelled"):
        verbs.append(("Retry", "retry"))
    if job.state == "done" and job.artifacts:
        verbs.append(("Show", "show"))
    if not waits(job) and not runs(job):
        verbs.append(("Forget", "forget"))
    actions = [
        button(label, verb, job.id, name=f"{label}: {title}", kind="is-small", key=f"queue-{verb}")
        for label, verb in verbs
    ]
    body = element("p", text(title), class_="sm-caption")
    body += element("p", text(state_of(job, now.at)), class_="sm-state") + bar(job) + _said(job)
    return element("li", body + _actions(actions), class_=f"sm-job is-{job.state}")


def history_board(now: Now, limit: int) -> str:
    """The newest results and uploads."""
    page = now.desk.history(limit)
    pieces = [_history_card(now, artifact) for artifact in page.artifacts if artifact.main is None]
    if not pieces:
        return hint(_NO_HISTORY)
    more = button("Show more", "more", "history") if page.next is not None else ""
    return cards(pieces, "History", "is-small") + _actions([more])


def _history_card(now: Now, artifact: Artifact) -> str:
    name = _name_of(now.desk, artifact)
    verbs: list[tuple[str, str, str | None]] = []
    if artifact.kind in ("still", "picture"):
        verbs = [("Animate", "pick", None), ("End with it", "end", None)]
    if artifact.kind == "clip":
        verbs = [("Draw anew", "clip", None)]
        if artifact.job_id is not None:
            verbs.insert(0, ("Open", "open", None))
    verbs.append(("Unpin" if artifact.pinned else "Pin", "pin", None))
    verbs.append(("Delete", "delete", f"Delete {name} for good?"))
    actions = [
        button(label, verb, artifact.id, ask=ask, name=f"{label}: {name}", kind="is-small",
               key=f"history-{verb}")
        for label, verb, ask in verbs
    ]  # fmt: skip
    link = element(
        "a", thumbnail(artifact, name), href=f"/v1/artifacts/{artifact.id}", download=True,
        aria_label=f"Download {name}",
    )  # fmt: skip
    kept = element("span", "Pinned", class_="sm-mark") if artifact.pinned else ""
    return element("li", link + kept + _caption(name) + _actions(actions), class_="sm-card")


def _name_of(desk: Desk, artifact: Artifact) -> str:
    """What its job was told, or the name of the file."""
    jobs = desk.jobs([artifact.job_id]) if artifact.job_id is not None else ()
    return title_of(jobs[0]) if jobs else artifact.name


def status_line(now: Now) -> str:
    """For screen readers: how many are made; changes only when something begins or ends."""
    jobs = now.desk.jobs((*now.memory.drawn, *now.memory.made))
    open_ = sum(waits(job) or runs(job) for job in jobs)
    done = sum(job.state == "done" for job in jobs)
    failed = sum(job.state == "failed" for job in jobs)
    said = f"{done} done, {open_} being made or waiting"
    said += f", {failed} failed" if failed else ""
    return element("p", text(f"{said}."), role="status", class_="sm-hidden") if jobs else ""


def settings_board(name: str, job: dict[str, Any] | None, record: dict[str, Any] | None) -> str:
    """How something was made: the job, and the record that its files carry."""
    parts = [("The job", job), ("The record in its files", record)]
    shown = "".join(
        element("h4", text(label)) + element("pre", text(json.dumps(said, indent=2)), tabindex="0")
        for label, said in parts
        if said is not None
    )
    close = button("Close", "close", "settings", kind="is-small")
    head = element("div", element("h3", text(f"Settings of {name}")) + close, class_="sm-head")
    return element("section", head + (shown or hint("Nothing was recorded.")), class_="sm-settings")


def clip_line(desk: Desk, memory: Memory, first_frame: str) -> str:
    """Which clip is drawn anew, and whether a first frame was chosen for it."""
    clip = desk.found(memory.clip)
    if clip is None:
        return hint("No clip yet: drop one in, or press Draw anew under one in the history.")
    said = (
        "It begins with the still that is chosen in step 2."
        if first_frame
        else "Its first frame is drawn anew; to choose it, draw first frames before."
    )
    body = thumbnail(clip, clip.name) + _caption(f"{clip.name}, {clip.num_frames or '?'} frames")
    return cards([element("li", body, class_="sm-card")], "The clip", "is-small") + hint(said)
