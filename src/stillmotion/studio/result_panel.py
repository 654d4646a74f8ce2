"""Step 4: the clips beside the still; on from the last frame, settings, once more."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.studio.choose_panel import shown_settings
from stillmotion.studio.desk import Desk
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.memory import Memory
from stillmotion.studio.results import again, last_frame
from stillmotion.studio.screen import Screen, pressed, quiet, told


def tie_results(screen: Screen, form: Form, settings: gr.HTML) -> None:
    """What the buttons under clips do; `form` has the place for sentences."""

    def act(data: dict[Any, Any], event: gr.EventData, request: gr.Request) -> Updates:
        verb, id_ = pressed(event)
        desk, memory = screen.visit(request, data[screen.memory])
        if verb == "settings":
            return told(form, lambda: {settings: shown_settings(desk, id_)})
        return told(
            form, lambda: screen.paint(desk, go_on(desk, memory, verb, id_), data[screen.how_many])
        )

    inputs, outputs = {screen.memory, screen.how_many}, [*form.places, *screen.boards, settings]
    screen.clips.act(act, inputs, outputs, **quiet)
    settings.act(lambda: "", None, settings, **quiet)


def go_on(desk: Desk, memory: Memory, verb: str, id_: str) -> Memory:
    """What a button under a clip changes.  Raises Refusal."""
    if verb == "last-frame":
        return memory.changed(still=last_frame(desk, id_).id)
    if verb == "again":
        return memory.with_made(desk.submit(lambda: again(desk, id_)))
    if verb == "drop":
        return memory.without(id_)
    if verb in ("cancel", "retry"):
        desk.act_on_job(verb, id_)
    return memory
