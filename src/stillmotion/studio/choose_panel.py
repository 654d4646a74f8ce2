"""Step 2: the row of stills, or a photograph in their place."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.server.uploads import UploadKind
from stillmotion.studio.boards import settings_board
from stillmotion.studio.desk import Desk, Refusal, refusing
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.memory import Memory
from stillmotion.studio.results import record_of
from stillmotion.studio.screen import Screen, pressed, quiet, told
from stillmotion.studio.uploads import take_in

_FIELDS = {"still_id": "still", "end_id": "end", "clip_id": "clip"}
"""What a form calls an artifact, and what the memory calls it."""


def choose_form() -> Form:
    """Where a photograph is dropped in, and where sentences about the row go."""
    form = Form("choose")
    form.add("still_id", gr.File, label="Or a picture of your own (PNG, JPEG, WebP)", height=140)
    form.note()
    return form


def tie_choosing(screen: Screen, form: Form, settings: gr.HTML, asked_by: Form) -> None:
    """What the row's buttons and the place for photographs do.

    `asked_by`: the form of step 3, whose prompt becomes that of the still.
    """
    prompt = asked_by.fields["prompt"]

    def act(data: dict[Any, Any], event: gr.EventData, request: gr.Request) -> Updates:
        verb, id_ = pressed(event)
        desk, memory = screen.visit(request, data[screen.memory])
        how_many = data[screen.how_many]
        if verb == "settings":
            return told(form, lambda: {settings: shown_settings(desk, id_)})

        def change() -> Updates:
            changed = choose(desk, memory, verb, id_)
            updates = screen.paint(desk, changed, how_many)
            if verb == "pick":
                updates[prompt] = prompt_to_begin_with(desk, id_, data[prompt])
            return updates

        return told(form, change)

    inputs = {screen.memory, screen.how_many, prompt}
    outputs = [*form.places, *screen.boards, settings, prompt]
    screen.stills.act(act, inputs, outputs, **quiet)
    tie_upload(screen, form, "still_id")


def tie_upload(screen: Screen, form: Form, field: str) -> None:
    """Take in what is dropped into a field, and choose it."""
    name = _FIELDS[field]
    place = form.fields[field]

    async def take(data: dict[Any, Any], request: gr.Request) -> Updates:
        desk, memory = screen.visit(request, data[screen.memory])
        kind: UploadKind = "clip" if name == "clip" else "picture"
        try:
            artifact = await take_in(desk, kind, field, data[place])
        except Refusal as refusal:
            return form.said(refusal) | {place: None}
        memory = memory.changed(**{name: artifact.id})
        return form.said() | {place: None} | screen.paint(desk, memory, data[screen.how_many])

    inputs, outputs = {place, screen.memory, screen.how_many}, [place, *form.places, *screen.boards]
    place.upload(take, inputs, outputs, **quiet)


def choose(desk: Desk, memory: Memory, verb: str, id_: str) -> Memory:
    """What a button under a still changes.  Raises Refusal."""
    if verb == "pick":
        desk.artifact(id_)
        return memory.changed(still=id_, end="" if memory.end == id_ else memory.end)
    if verb == "end":
        desk.artifact(id_)
        return memory.changed(end="" if memory.end == id_ else id_)
    if verb == "drop":
        return memory.without(id_)
    if verb in ("cancel", "retry"):
        desk.act_on_job(verb, id_)
    return memory


def prompt_to_begin_with(desk: Desk, artifact_id: str, said: str) -> Any:
    """That of the still, as long as nothing else was written for its motion."""
    artifact = desk.found(artifact_id)
    jobs = desk.jobs([artifact.job_id]) if artifact is not None and artifact.job_id else ()
    own = str(jobs[0].job.get("prompt") or "") if jobs else ""
    return own if own and not (said or "").strip() else gr.skip()


def shown_settings(desk: Desk, artifact_id: str) -> str:
    """The settings of a still or clip, as a board.  Raises Refusal."""
    artifact = desk.artifact(artifact_id)
    with refusing():
        jobs = desk.jobs([artifact.job_id]) if artifact.job_id else ()
        return settings_board(
            artifact.name, jobs[0].job if jobs else None, record_of(desk, artifact_id)
        )
