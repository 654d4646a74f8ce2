"""All that was made or given, newest first."""

from __future__ import annotations

from typing import Any

import gradio as gr

from stillmotion.studio.choose_panel import prompt_to_begin_with
from stillmotion.studio.desk import Desk
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.memory import Memory
from stillmotion.studio.screen import FIRST_HISTORY, Screen, pressed, quiet, told


def tie_history(screen: Screen, form: Form, asked_by: Form) -> None:
    """What the buttons of the history do.

    `asked_by`: the form of step 3, whose prompt becomes that of a still.
    """
    prompt = asked_by.fields["prompt"]

    def act(data: dict[Any, Any], event: gr.EventData, request: gr.Request) -> Updates:
        verb, id_ = pressed(event)
        desk, memory = screen.visit(request, data[screen.memory])
        how_many = data[screen.how_many] + (FIRST_HISTORY if verb == "more" else 0)

        def change() -> Updates:
            changed = use(desk, memory, verb, id_)
            updates = {screen.how_many: how_many} | screen.paint(desk, changed, how_many)
            if verb == "pick":
                updates[prompt] = prompt_to_begin_with(desk, id_, data[prompt])
            return updates

        return told(form, change)

    inputs = {screen.memory, screen.how_many, prompt}
    outputs = [*form.places, *screen.boards, screen.how_many, prompt]
    screen.history.act(act, inputs, outputs, **quiet)


def use(desk: Desk, memory: Memory, verb: str, id_: str) -> Memory:
    """What a button of the history changes.  Raises Refusal."""
    if verb in ("pick", "end", "clip"):
        desk.artifact(id_)
        return memory.changed(**{"still" if verb == "pick" else verb: id_})
    if verb == "open":
        job = desk.artifact(id_).job_id
        return memory if job is None else memory.with_made((desk.job(job).id,))
    if verb == "pin":
        desk.pin(id_)
    if verb == "delete":
        desk.delete(id_)
        return memory.without(id_)
    return memory
