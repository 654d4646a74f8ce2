"""Step 1: prompt and look; the stills appear in step 2, one after the other."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.studio.actions import draw_jobs
from stillmotion.studio.drafts import kept_values
from stillmotion.studio.forms import OWN, Form, Updates, number, speed
from stillmotion.studio.offers import Offers, names
from stillmotion.studio.screen import Screen, quiet, told

EXAMPLE = "a red balloon over green hills"
PLAIN = ("as the model is", "")
"""The look that adds nothing."""


def draw_form(offers: Offers) -> tuple[Form, gr.Button]:
    """The fields, and the button that draws."""
    form = Form("draw")
    form.add("prompt", gr.Textbox, label="What the still shows", value=EXAMPLE, lines=2,
             placeholder=EXAMPLE)  # fmt: skip
    with gr.Row():
        form.add("look", gr.Dropdown, label="Look", choices=[PLAIN, *offers.looks(None)], value="",
                 min_width=200)  # fmt: skip
        form.add("count", gr.Slider, label="How many", minimum=1, maximum=16, step=1, value=4)
    with gr.Accordion("More choices", open=False):
        _more(form, offers)
    form.note()
    return form, gr.Button("Draw stills", variant="primary", elem_id="sm-draw")


def _more(form: Form, offers: Offers) -> None:
    models = names(offers.drawing)
    with gr.Row():
        form.add("model", gr.Dropdown, label="Model", choices=models,
                 value=models[0] if models else None)  # fmt: skip
        form.add("seed", gr.Textbox, **number("Seed", "by chance"))
    with gr.Row():
        form.add("negative", gr.Textbox, label="What it must not show", lines=1, scale=2)
        speed(form)
    with gr.Row():
        form.add("steps", gr.Textbox, **number("Steps", OWN))
        form.add(
            "guidance", gr.Textbox, **number("Guidance", OWN, "How closely the text is followed.")
        )
    with gr.Row():
        form.add("width", gr.Textbox, **number("Width", OWN))
        form.add("height", gr.Textbox, **number("Height", OWN))


def kept_look(form: Form, offers: Offers, draft: Any) -> Updates:
    """The looks of the model that the browser has kept, and the one that was chosen."""
    model = kept_values(form, draft).get("model")
    if model is None:
        return {}
    looks, look = offers.looks(model), draft.get("look")
    chosen = look if look in looks else ""
    return {form.fields["look"]: gr.update(choices=[PLAIN, *looks], value=chosen)}


def tie_drawing(screen: Screen, form: Form, button: gr.Button, offers: Offers) -> None:
    """What the button, Enter in the prompt and the choice of a model do."""

    def draw(data: dict[Any, Any], request: gr.Request) -> Updates:
        def act() -> Updates:
            desk, memory = screen.visit(request, data[screen.memory])
            drawn = desk.submit(lambda: draw_jobs(form.values(data)))
            # A new row: the stills of the last one are in the history.
            memory = memory.changed(drawn=drawn, end="")
            return screen.paint(desk, memory, data[screen.how_many])

        return told(form, act)

    def looks(model: str) -> Any:
        return gr.update(choices=[PLAIN, *offers.looks(model)], value="")

    inputs = {*form.inputs, screen.memory, screen.how_many}
    outputs = [*form.places, *screen.boards]
    gr.on([button.click, form.fields["prompt"].submit], draw, inputs, outputs, **quiet)
    form.fields["model"].input(looks, form.fields["model"], form.fields["look"], **quiet)
