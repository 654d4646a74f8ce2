"""A film of several shots, from a script that is written into the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.studio.actions import story_jobs
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.motion_fields import FORMAT_CHOICES
from stillmotion.studio.screen import Screen, quiet, told

EXAMPLE = """\
title: Two flights
defaults: {frames: 8}
shots:
  - draw: a red balloon over green hills
    prompt: a red balloon rising over green hills
  - draw: a yellow star over a blue city
    transition: {crossfade: 3}
"""
_HELP = (
    "YAML, as for the command `stillmotion story`. A shot begins with draw: TEXT, with "
    "continue: true, or with image: still, the one chosen in step 2; last_frame: end is the "
    "picture marked with End with it."
)


def story_form() -> tuple[Form, gr.Button]:
    """The script, and the button that makes the film."""
    form = Form("story")
    form.add("script", gr.Textbox, label="The script", info=_HELP, lines=12, max_lines=30,
             value=EXAMPLE)  # fmt: skip
    form.add("format", gr.Dropdown, label="Format", choices=FORMAT_CHOICES, value="mp4")
    form.note()
    return form, gr.Button("Make the film", variant="primary", elem_id="sm-story")


def tie_story(screen: Screen, form: Form, button: gr.Button) -> None:
    """What the button does."""

    def make(data: dict[Any, Any], request: gr.Request) -> Updates:
        def act() -> Updates:
            desk, memory = screen.visit(request, data[screen.memory])
            values = form.values(data) | {"still_id": memory.still, "end_id": memory.end}
            made = desk.submit(lambda: story_jobs(values))
            return screen.paint(desk, memory.with_made(made), data[screen.how_many])

        return told(form, act)

    inputs = {*form.inputs, screen.memory, screen.how_many}
    button.click(make, inputs, [*form.places, *screen.boards], **quiet)
