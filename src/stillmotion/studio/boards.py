"""What the page shows of the queue and the library: each board is one piece of markup."""

from __future__ import annotations

import json
from typing import Any

from stillmotion.queueing.views import Artifact, JobView
from stillmotion.studio.cards import (
    Now,
    action_row,
    caption,
    name_of,
    news_of,
    result_card,
    source_card,
    still_card,
    unfinished_card,
)
from stillmotion.studio.desk import Desk
from stillmotion.studio.markup import (
    bar,
    button,
    cards,
    element,
    hint,
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
_SOURCES = {"clip": "The clip before", "still": "The still", "last_frame": "The end"}
"""Fields of jobs that are shown beside what was made of them."""


def stills_board(now: Now) -> str:
    """The row of stills: those there are, and those that are being made."""
    pieces = []
    shown: set[str] = set()
    for job in now.desk.jobs(now.memory.drawn):
        mains = now.desk.mains(job)
        shown |= {artifact.id for artifact in mains}
        pieces += [still_card(now, artifact, title_of(job)) for artifact in mains]
        if not mains:
            pieces.append(unfinished_card(now, job))
    for artifact_id in dict.fromkeys((now.memory.still, now.memory.end)):
        extra = now.desk.found(artifact_id)
        if extra is not None and extra.id not in shown:
            pieces.insert(0, still_card(now, extra, name_of(now.desk, extra)))
    return cards(pieces, "Stills") if pieces else hint(_NO_STILLS)


def clips_board(now: Now) -> str:
    """Clips beside what they were made of."""
    groups: dict[tuple[tuple[str, str], ...], list[JobView]] = {}
    for job in now.desk.jobs(now.memory.made):
        groups.setdefault(_sources(job), []).append(job)
    if not groups:
        return hint(_NO_CLIPS)
    return "".join(_group(now, sources, jobs) for sources, jobs in groups.items())


def _sources(job: JobView) -> tuple[tuple[str, str], ...]:
    """What a job makes its clip of: names and ids."""
    found = [(name, job.job.get(field) or {}) for field, name in _SOURCES.items()]
    return tuple((name, one["artifact"]) for name, one in found if one.get("artifact"))


def _group(now: Now, sources: tuple[tuple[str, str], ...], jobs: list[JobView]) -> str:
    given = [(name, now.desk.found(id_)) for name, id_ in sources]
    pieces = [source_card(artifact, name) for name, artifact in given if artifact is not None]
    for job in jobs:
        mains = now.desk.mains(job)
        pieces += [result_card(now, job, artifact, jobs) for artifact in mains]
        if not mains:
            pieces.append(unfinished_card(now, job))
    return cards(pieces, "What was made, beside what it was made of", "is-wide")


def queue_board(now: Now) -> str:
    """Jobs that run, that wait in their order, and the last that ended."""
    queue, owner = now.desk.queue, now.desk.owner
    state = queue.state()
    running = queue.list(states=("running", "cancelling"), owner=owner).jobs
    waiting = queue.waiting(owner=owner)
    over = queue.list(states=("failed", "cancelled", "done"), owner=owner, limit=_RECENT).jobs
    rows = [_job_row(now, job) for job in (*running[::-1], *waiting, *over)]
    said = f"{len(running)} running, {len(waiting)} waiting."
    said = f"{said} {now.desk.readiness()}".rstrip()
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
    body += element("p", text(state_of(job, now.at)), class_="sm-state") + bar(job) + news_of(job)
    return element("li", body + action_row(actions), class_=f"sm-job is-{job.state}")


def history_board(now: Now, limit: int) -> str:
    """The newest results and uploads."""
    page = now.desk.history(limit)
    pieces = [_history_card(now, artifact) for artifact in page.artifacts if artifact.main is None]
    if not pieces:
        return hint(_NO_HISTORY)
    more = button("Show more", "more", "history") if page.next is not None else ""
    return cards(pieces, "History", "is-small") + action_row([more])


def _history_card(now: Now, artifact: Artifact) -> str:
    name = name_of(now.desk, artifact)
    verbs: list[tuple[str, str, str | None]] = []
    if artifact.kind in ("still", "picture"):
        verbs = [("Animate", "pick", None), ("End with it", "end", None)]
    if artifact.kind == "clip":
        verbs = [("Draw anew", "clip", None)]
    if artifact.kind in ("clip", "scores") and artifact.job_id is not None:
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
    return element("li", link + kept + caption(name) + action_row(actions), class_="sm-card")


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


def end_line(desk: Desk, memory: Memory) -> str:
    """Which picture the clip ends with."""
    end = desk.found(memory.end)
    if end is None:
        return hint("No picture is chosen for the end yet.")
    body = thumbnail(end, end.name) + caption(f"It ends with {name_of(desk, end)}")
    return cards([element("li", body, class_="sm-card")], "The end", "is-small")


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
    body = thumbnail(clip, clip.name) + caption(f"{clip.name}, {clip.num_frames or '?'} frames")
    return cards([element("li", body, class_="sm-card")], "The clip", "is-small") + hint(said)
