"""Step 3 with AnimateZero: how exactly that still should move; and text along the clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from stillmotion.jobs.model import AnyJob
from stillmotion.studio.actions import Values
from stillmotion.studio.boards import end_line
from stillmotion.studio.choose_panel import tie_upload
from stillmotion.studio.forms import Form, Updates, number
from stillmotion.studio.motion_fields import end_fields, output_fields, sampling_fields
from stillmotion.studio.offers import Offers
from stillmotion.studio.screen import Screen, quiet, told

_AS_DRAWN = "those of the still"
_FITS = [("as the model needs", ""), ("cut to fit", "cover"), ("pad to fit", "pad")]
_FIRST = [("as the model has it", ""), ("the photograph itself", "photograph"),
          ("its reconstruction", "reconstruction")]  # fmt: skip


def animate_form() -> tuple[Form, gr.Button]:
    """The fields, and the button that animates."""
    form = Form("animate")
    form.note("still_id")
    form.add("prompt", gr.Textbox, label="How it should move", lines=2,
             placeholder="a red balloon rising over green hills")  # fmt: skip
    with gr.Row():
        form.add("frames", gr.Slider, label="Length in frames", minimum=2, maximum=64, step=1,
                 value=16)  # fmt: skip
        form.add("motion_strength", gr.Slider, label="Strength: calm to lively", minimum=0,
                 maximum=2, step=0.1, value=1)  # fmt: skip
    end_fields(form)
    with gr.Accordion("More choices", open=False):
        _more(form)
    form.note()
    return form, gr.Button("Animate", variant="primary", elem_id="sm-animate")


def text_form(offers: Offers) -> tuple[Form, gr.Button]:
    """The fields of text-driven motion, and its button."""
    form = Form("text")
    form.note("still_id")
    form.add("prompt", gr.Textbox, label="What it shows at first", lines=2,
             placeholder="a red balloon over green hills")  # fmt: skip
    form.add("towards", gr.Textbox, label="What it becomes", lines=2,
             placeholder="a blue balloon over green hills")  # fmt: skip
    form.add("prompt_at", gr.Textbox, lines=3, label="Or: texts at frames, one on each line",
             placeholder="4: a red balloon rising\n8: a red star")  # fmt: skip
    with gr.Row():
        form.add("frames", gr.Slider, label="Length in frames", minimum=2, maximum=64, step=1,
                 value=16)  # fmt: skip
        form.add("look", gr.Dropdown, label="Look",
                 choices=[("that of the still", ""), *offers.looks(None)], value="")  # fmt: skip
    with gr.Accordion("More choices", open=False):
        output_fields(form)
        sampling_fields(form, _AS_DRAWN)
        form.add("drift_correction", gr.Checkbox, value=False,
                 label="Keep light and colours to those of the still")  # fmt: skip
    form.note()
    return form, gr.Button("Animate along the text", variant="primary", elem_id="sm-text")


def _more(form: Form) -> None:
    output_fields(form)
    sampling_fields(form, _AS_DRAWN)
    with gr.Row():
        form.add(
            "time_travel",
            gr.Textbox,
            **number("Time travel", "none", "Repeats of the middle steps: smoother, slower."),
        )
        form.add("photograph", gr.Checkbox, label="By its pixels alone, like a photograph")
        form.add("drift_correction", gr.Checkbox, value=True,
                 label="Keep light and colours to those of the still")  # fmt: skip
    with gr.Row():
        form.add("fit", gr.Dropdown, label="Photograph of another shape", choices=_FITS, value="")
        form.add("first_frame", gr.Dropdown, label="First frame of a photograph", choices=_FIRST,
                 value="")  # fmt: skip


def tie_animating(
    screen: Screen, form: Form, button: gr.Button, jobs: Callable[[Values], tuple[AnyJob, ...]]
) -> None:
    """What the button does: `jobs` makes them of the values and of what was chosen."""

    def animate(data: dict[Any, Any], request: gr.Request) -> Updates:
        def act() -> Updates:
            desk, memory = screen.visit(request, data[screen.memory])
            values = form.values(data) | {"still_id": memory.still, "end_id": memory.end}
            made = desk.submit(lambda: jobs(values))
            return screen.paint(desk, memory.with_made(made), data[screen.how_many])

        return told(form, act)

    inputs = {*form.inputs, screen.memory, screen.how_many}
    button.click(animate, inputs, [*form.places, *screen.boards], **quiet)
    if form.shown_end is not None:

        def show_end(said: Any, request: gr.Request) -> str:
            return end_line(*screen.visit(request, said))

        screen.memory.change(show_end, screen.memory, form.shown_end, **quiet)
        tie_upload(screen, form, "end_id")
