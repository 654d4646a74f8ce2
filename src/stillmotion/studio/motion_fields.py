"""Fields that the forms of step 3 share."""

from __future__ import annotations

import gradio as gr

from stillmotion.studio.actions import FORMATS, MAX_COUNT
from stillmotion.studio.forms import OWN, Form, number, speed

END_CHOICES = [
    ("open", "open"),
    ("loop: ends with the still", "loop"),
    ("seamless loop, for players that repeat", "seamless"),
    ("another picture", "picture"),
]
_FORMAT_NAMES = {
    "mp4": "MP4", "webm": "WebM", "gif": "GIF", "webp": "WebP", "safetensors": "frames and latents",
    "frames": "PNG frames (zip)",
}  # fmt: skip
FORMAT_CHOICES = [(_FORMAT_NAMES.get(name, name), name) for name in FORMATS]


def end_fields(form: Form) -> None:
    """How the clip ends, and the picture that it may end with."""
    end = form.add("end", gr.Radio, label="End", choices=END_CHOICES, value="open")
    with form.place("end_id"):
        form.fields["end_id"] = gr.File(
            label="The picture to end with (or press End with it under a still)",
            elem_id=f"sm-{form.name}-end-id", height=140, visible=False,
        )  # fmt: skip
        form.shown_end = gr.HTML(js_on_load=None, apply_default_css=False, visible=False)
    end.change(
        lambda chosen: [gr.update(visible=chosen == "picture")] * 2, end,
        [form.fields["end_id"], form.shown_end],
        show_progress="hidden", queue=False, api_visibility="private",
    )  # fmt: skip


def output_fields(form: Form) -> None:
    """How many clips, in which format, by which seed, and how fast they play."""
    with gr.Row():
        form.add(
            "count", gr.Slider, label="Variants", minimum=1, maximum=MAX_COUNT, step=1, value=1
        )
        form.add("format", gr.Dropdown, label="Format", choices=FORMAT_CHOICES, value="mp4")
    with gr.Row():
        form.add("seed", gr.Textbox, **number("Seed", "by chance"))
        form.add("fps", gr.Textbox, **number("Frames a second", "8"))
        form.add("scale", gr.Textbox, **number("Enlarge", "1", "Each pixel so many times."))


def sampling_fields(form: Form, steps: str = OWN) -> None:
    """Steps (`steps`: how many if none are said) and guidance, and what must not be shown."""
    with gr.Row():
        form.add("steps", gr.Textbox, **number("Steps", steps))
        form.add(
            "guidance", gr.Textbox, **number("Guidance", OWN, "How closely the text is followed.")
        )
    with gr.Row():
        form.add("negative", gr.Textbox, label="What it must not show", lines=1, scale=2)
        speed(form)
