"""Step 3 with DynamiCrafter: any picture, moved by what the model knows of it."""

from __future__ import annotations

import gradio as gr

from stillmotion.studio.forms import OWN, Form, number
from stillmotion.studio.motion_fields import end_fields, output_fields, sampling_fields
from stillmotion.studio.offers import Offers, names

_AUTO = ("the one for this end", "")


def dynamicrafter_form(offers: Offers) -> tuple[Form, gr.Button]:
    """The fields, and the button that animates."""
    form = Form("dynamicrafter")
    form.note("still_id")
    form.add("prompt", gr.Textbox, label="How it should move", lines=2,
             placeholder="a red balloon rising over green hills")  # fmt: skip
    with gr.Row():
        form.add("model", gr.Dropdown, label="Model", choices=[_AUTO, *names(offers.dynamicrafter)],
                 value="")  # fmt: skip
        form.add("frames", gr.Textbox, **number("Length in frames", OWN))
    end_fields(form)
    form.add("exact_first_frame", gr.Checkbox, value=True,
             label="Begin with exactly the picture")  # fmt: skip
    with gr.Accordion("More choices", open=False):
        output_fields(form)
        sampling_fields(form)
        _more(form)
    form.note()
    return form, gr.Button("Animate with DynamiCrafter", variant="primary", elem_id="sm-crafter")


def _more(form: Form) -> None:
    with gr.Row():
        form.add("frame_stride", gr.Textbox, **number("Frame stride", OWN, "More: more motion."))
        form.add(
            "conditioning_fps",
            gr.Textbox,
            **number("Frames a second, to the model", OWN, "Less: more motion."),
        )
    with gr.Row():
        form.add(
            "image_guidance",
            gr.Textbox,
            **number("Guidance by the picture", OWN, "How closely the picture is kept."),
        )
        form.add("guidance_rescale", gr.Textbox, **number("Guidance rescale", OWN, "0 to 1."))
        form.add("eta", gr.Textbox, **number("Eta", OWN, "0 to 1: noise added in every step."))
