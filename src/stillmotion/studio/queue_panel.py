"""The queue: order, progress with time left, pause, cancel, edit, retry."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.jobs.model import parse_job
from stillmotion.studio.actions import changed_job, editable_values
from stillmotion.studio.desk import Desk, Refusal, refusing
from stillmotion.studio.forms import Form, Updates, number, shown
from stillmotion.studio.markup import title_of
from stillmotion.studio.memory import Memory
from stillmotion.studio.motion_fields import FORMAT_CHOICES
from stillmotion.studio.screen import Screen, pressed, quiet, told

_STARTED = "The job has begun or ended, so it cannot be changed any more."


class EditBox:
    """The form that changes a waiting job; hidden until one is chosen."""

    def __init__(self) -> None:
        self.form = Form("change")
        with gr.Column(visible=False, elem_id="sm-change", elem_classes="sm-box") as self.box:
            self.title = gr.Markdown()
            self._fields()
            self.form.note()
            with gr.Row():
                self.save = gr.Button("Save", variant="primary", elem_id="sm-change-save")
                self.close = gr.Button("Leave it", elem_id="sm-change-close")
        self.job = gr.State("")

    def _fields(self) -> None:
        add = self.form.add
        add("prompt", gr.Textbox, label="Prompt", lines=2)
        add("negative", gr.Textbox, label="What it must not show")
        with gr.Row():
            add("seed", gr.Textbox, **number("Seed", "left open"))
            add("steps", gr.Textbox, **number("Steps", "left open"))
        with gr.Row():
            add("guidance", gr.Textbox, **number("Guidance", "left open"))
            add("motion_strength", gr.Textbox, **number("Strength", "left open"))
        with gr.Row():
            add("frames", gr.Textbox, **number("Frames", "left open"))
            add("fps", gr.Textbox, **number("Frames a second", "left open"))
        add("format", gr.Dropdown, label="Format", choices=FORMAT_CHOICES)

    @property
    def parts(self) -> list[Any]:
        """What showing it changes."""
        return [self.box, self.title, self.job, *self.form.fields.values(), *self.form.places]

    def shown(self, desk: Desk, job_id: str) -> Updates:
        """With the values of a waiting job.  Raises Refusal."""
        view = desk.job(job_id)
        if view.state not in ("queued", "paused"):
            raise Refusal("", _STARTED)
        with refusing():
            has = editable_values(parse_job(view.job))
        fields = {
            field: gr.update(visible=name in has, value=shown(field, has.get(name)))
            for name, field in self.form.fields.items()
        }
        title = {self.title: f"### Change this job\n{title_of(view)}", self.job: job_id}
        return self.form.said() | fields | title | {self.box: gr.update(visible=True)}

    def hidden(self) -> Updates:
        """Away."""
        return {self.box: gr.update(visible=False), self.job: ""}


def tie_queue(screen: Screen, form: Form, edit: EditBox) -> None:
    """What the buttons of the queue and of its form do."""

    def act(data: dict[Any, Any], event: gr.EventData, request: gr.Request) -> Updates:
        verb, id_ = pressed(event)
        desk, memory = screen.visit(request, data[screen.memory])
        if verb == "edit":
            return told(form, lambda: edit.shown(desk, id_))
        return told(
            form, lambda: screen.paint(desk, order(desk, memory, verb, id_), data[screen.how_many])
        )

    def save(data: dict[Any, Any], request: gr.Request) -> Updates:
        desk, memory = screen.visit(request, data[screen.memory])

        def change() -> Updates:
            values = edit.form.values(data)
            desk.edit(data[edit.job], lambda job: changed_job(job, values))
            return edit.hidden() | screen.paint(desk, memory, data[screen.how_many])

        return told(edit.form, change)

    inputs = {screen.memory, screen.how_many}
    screen.queue.act(act, inputs, [*form.places, *screen.boards, *edit.parts], **quiet)
    edit.save.click(
        save, {*inputs, edit.job, *edit.form.inputs}, [*screen.boards, *edit.parts], **quiet
    )
    edit.close.click(lambda: [gr.update(visible=False), ""], None, [edit.box, edit.job], **quiet)


def order(desk: Desk, memory: Memory, verb: str, id_: str) -> Memory:
    """What a button of the queue changes.  Raises Refusal."""
    if verb in ("pause-all", "resume-all"):
        desk.pause_queue(verb == "pause-all")
    elif verb == "show":
        return shown_again(desk, memory, id_)
    elif verb in ("cancel", "pause", "resume", "retry", "sooner", "later", "forget"):
        desk.act_on_job(verb, id_)
    return memory


def shown_again(desk: Desk, memory: Memory, job_id: str) -> Memory:
    """With what a job made in its row."""
    job = desk.job(job_id)
    draws_stills = job.kind == "draw" or job.job.get("format") == "png"
    return memory.with_drawn((job.id,)) if draws_stills else memory.with_made((job.id,))
