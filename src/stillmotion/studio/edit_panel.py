"""Step 3 of an editor: a clip drawn anew after a text, along its edges or its depth."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.studio.actions import edit_jobs
from stillmotion.studio.boards import clip_line
from stillmotion.studio.choose_panel import tie_upload
from stillmotion.studio.desk import Desk
from stillmotion.studio.forms import Form, Updates, number
from stillmotion.studio.memory import Memory
from stillmotion.studio.motion_fields import output_fields, sampling_fields
from stillmotion.studio.offers import Offers
from stillmotion.studio.screen import Screen, quiet, told

_CONTROLS = [("its edges", "edges"), ("its depth", "depth"), ("it is a control clip", "given")]


def edit_form(offers: Offers) -> tuple[Form, gr.Button, gr.Button]:
    """The fields, the button for first frames and the one for the clip."""
    form = Form("edit")
    form.add("clip_id", gr.File, label="The clip to draw anew (MP4, WebM, GIF, WebP)", height=140)
    form.add("prompt", gr.Textbox, label="What the new clip shows", lines=2,
             placeholder="a blue balloon over a grey city")  # fmt: skip
    with gr.Row():
        form.add("control", gr.Radio, label="What is kept of it", choices=_CONTROLS, value="edges")
        form.add("look", gr.Dropdown, label="Look",
                 choices=[("as the model is", ""), *offers.looks(None)], value="")  # fmt: skip
    with gr.Accordion("More choices", open=False):
        _more(form)
    form.note("still_id")
    form.note()
    with gr.Row():
        stills = gr.Button("Draw first frames to choose from", elem_id="sm-edit-stills")
        clip = gr.Button("Draw the clip", variant="primary", elem_id="sm-edit")
    return form, stills, clip


def _more(form: Form) -> None:
    output_fields(form)
    sampling_fields(form)
    with gr.Row():
        form.add("frames", gr.Textbox, **number("Frames", "all, at most 64"))
        form.add("start", gr.Textbox, **number("First frame taken", "0", "Counted from 0."))
        form.add("stride", gr.Textbox, **number("Every nth frame", "1", "2: every other one."))
    with gr.Row():
        form.add("control_scale", gr.Textbox, **number("How strictly", "1"))
        form.add("depth_model", gr.Textbox, label="Depth model",
                 info="For its depth: one that the operator allows.")  # fmt: skip
        form.add("animatediff", gr.Checkbox, value=False, label="By plain AnimateDiff, to compare")


def first_frame_of(desk: Desk, memory: Memory) -> str:
    """The chosen still if it was drawn for this clip; else none."""
    artifact = desk.found(memory.still)
    jobs = desk.jobs([artifact.job_id]) if artifact is not None and artifact.job_id else ()
    clip = (jobs[0].job.get("clip") or {}).get("artifact") if jobs else None
    return memory.still if clip and clip == memory.clip else ""


def tie_editing(
    screen: Screen, form: Form, buttons: tuple[gr.Button, gr.Button], chosen: gr.HTML
) -> None:
    """What both buttons do; `chosen` shows the clip that is taken."""

    def handler(stills: bool) -> Any:
        def edit(data: dict[Any, Any], request: gr.Request) -> Updates:
            def act() -> Updates:
                desk, memory = screen.visit(request, data[screen.memory])
                values = form.values(data) | {
                    "clip_id": memory.clip, "still_id": first_frame_of(desk, memory),
                }  # fmt: skip
                made = desk.submit(lambda: edit_jobs(values, stills=stills))
                memory = memory.changed(drawn=made) if stills else memory.with_made(made)
                return screen.paint(desk, memory, data[screen.how_many])

            return told(form, act)

        return edit

    def show(said: Any, request: gr.Request) -> str:
        desk, memory = screen.visit(request, said)
        return clip_line(desk, memory, first_frame_of(desk, memory))

    inputs = {*form.inputs, screen.memory, screen.how_many}
    for button, stills in zip(buttons, (True, False), strict=True):
        button.click(handler(stills), inputs, [*form.places, *screen.boards], **quiet)
    screen.memory.change(show, screen.memory, chosen, **quiet)
    tie_upload(screen, form, "clip_id")
