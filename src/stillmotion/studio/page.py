"""The page: four steps on the left, the queue and what was made on the right."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from stillmotion.server.service import Service
from stillmotion.studio.actions import animate_jobs, dynamicrafter_jobs
from stillmotion.studio.animate_panel import animate_form, text_form, tie_animating
from stillmotion.studio.boards import clip_line, end_line
from stillmotion.studio.choose_panel import choose_form, prompt_to_begin_with, tie_choosing
from stillmotion.studio.desk import Desk
from stillmotion.studio.drafts import filled, keep_fields, kept_values
from stillmotion.studio.draw_panel import draw_form, kept_look, tie_drawing
from stillmotion.studio.dynamicrafter_panel import dynamicrafter_form
from stillmotion.studio.edit_panel import edit_form, first_frame_of, tie_editing
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.history_panel import tie_history
from stillmotion.studio.login import LOGOUT
from stillmotion.studio.memory import STORAGE_KEY, Memory
from stillmotion.studio.offers import Offers
from stillmotion.studio.queue_panel import EditBox, tie_queue
from stillmotion.studio.result_panel import tie_results
from stillmotion.studio.screen import FIRST_HISTORY, Screen, board, quiet
from stillmotion.studio.story_panel import story_form, tie_story

TITLE = "stillmotion studio"
_TICK_S = 0.8
_DELETE_UPLOADS_S = (600, 3600)
"""Gradio's own copies of what was dropped in, should any be left: how often they are looked for,
and how old they get."""
_HEADER = """
<header class="sm-top">
  <h1>stillmotion studio</h1>
  <p>Draw a still, choose one, and animate exactly that still.</p>
  {leave}
  <label class="sm-scheme">Colours
    <select id="sm-scheme">
      <option value="auto">as the system</option>
      <option value="light">light</option>
      <option value="dark">dark</option>
    </select>
  </label>
</header>
"""
_LEAVE = f"""
<form method="post" action="{LOGOUT}"><button class="sm-button is-small">Log out</button></form>
"""


@dataclass(kw_only=True)
class _Parts:
    """What the columns are made of, to be tied together."""

    draw: tuple[Form, gr.Button]
    choose: Form
    animate: tuple[Form, gr.Button]
    text: tuple[Form, gr.Button]
    crafter: tuple[Form, gr.Button]
    edit: tuple[Form, gr.Button, gr.Button]
    edit_clip: gr.HTML
    story: tuple[Form, gr.Button]
    result: Form
    queue: Form
    change: EditBox
    history: Form
    settings: gr.HTML

    @property
    def forms(self) -> tuple[Form, ...]:
        """Those that people fill in, and find again as they left them."""
        tied = (self.draw, self.animate, self.text, self.edit, self.crafter, self.story)
        return tuple(one[0] for one in tied)

    @property
    def ends(self) -> list[gr.HTML]:
        """Where forms show the picture that clips end with."""
        return [form.shown_end for form in self.forms if form.shown_end is not None]


def build_page(service: Service) -> gr.Blocks:
    """The studio over a service; nothing of it asks another machine."""
    # Gradio counts its users by default, also when it is merely imported by someone.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    offers = Offers.of(service)
    page: gr.Blocks
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_S, fill_width=True
    ) as page:
        leave = _LEAVE if service.book is not None else ""
        gr.HTML(_HEADER.format(leave=leave), js_on_load=None, apply_default_css=False)
        memory = gr.BrowserState(Memory().said(), storage_key=STORAGE_KEY, secret=STORAGE_KEY)
        boards: dict[str, gr.HTML] = {}
        with gr.Row(elem_classes="sm-columns"):
            with gr.Column(scale=5, min_width=320, elem_classes="sm-main"):
                main = _main(boards, offers)
            with gr.Column(scale=2, min_width=320, elem_classes="sm-side"):
                side = _side(boards)
        screen = Screen(
            service=service, memory=memory, seen=gr.State({}), how_many=gr.State(FIRST_HISTORY),
            status=gr.HTML(elem_id="sm-status", js_on_load=None, apply_default_css=False), **boards,
        )  # fmt: skip
        parts = _Parts(**main, **side)
        _tie(screen, parts, offers)
        _keep_up(page, screen, parts, offers)
    return page


def _main(boards: dict[str, gr.HTML], offers: Offers) -> dict[str, Any]:
    """The four steps."""
    parts: dict[str, Any] = {}
    with gr.Column(elem_classes="sm-box", elem_id="sm-step-1"):
        gr.Markdown("## 1 Draw")
        parts["draw"] = draw_form(offers)
    with gr.Column(elem_classes="sm-box", elem_id="sm-step-2"):
        gr.Markdown("## 2 Choose")
        boards["stills"] = board("stills", "Stills")
        parts["choose"] = choose_form()
    with gr.Column(elem_classes="sm-box", elem_id="sm-step-3"):
        gr.Markdown("## 3 Move")
        parts |= _ways(offers)
    with gr.Column(elem_classes="sm-box", elem_id="sm-step-4"):
        gr.Markdown("## 4 Result")
        parts["result"] = Form("result")
        parts["result"].note()
        boards["clips"] = board("clips", "Clips")
        parts["settings"] = board("settings", "Settings")
    return parts


def _ways(offers: Offers) -> dict[str, Any]:
    """The ways of making a clip, each with a tab."""
    parts: dict[str, Any] = {}
    with gr.Tabs():
        with gr.Tab("Animate", id="animate"):
            parts["animate"] = animate_form()
        with gr.Tab("Text-driven motion", id="text"):
            parts["text"] = text_form(offers)
        with gr.Tab("Edit a clip", id="edit"):
            parts["edit_clip"] = gr.HTML(js_on_load=None, apply_default_css=False)
            parts["edit"] = edit_form(offers)
        if offers.dynamicrafter:
            with gr.Tab("DynamiCrafter", id="dynamicrafter"):
                parts["crafter"] = dynamicrafter_form(offers)
        else:
            with gr.Column(visible=False):
                parts["crafter"] = dynamicrafter_form(offers)
        with gr.Tab("Story", id="story"):
            parts["story"] = story_form()
    return parts


def _side(boards: dict[str, gr.HTML]) -> dict[str, Any]:
    """The queue and the history."""
    parts: dict[str, Any] = {}
    with gr.Column(elem_classes="sm-box", elem_id="sm-queue-box"):
        gr.Markdown("## Queue")
        parts["queue"] = Form("queue")
        parts["queue"].note()
        boards["queue"] = board("queue", "Queue")
        parts["change"] = EditBox()
    with gr.Column(elem_classes="sm-box", elem_id="sm-history-box"):
        gr.Markdown("## History")
        parts["history"] = Form("history")
        parts["history"].note()
        boards["history"] = board("history", "History")
    return parts


def _tie(screen: Screen, parts: _Parts, offers: Offers) -> None:
    """What every button does."""
    tie_drawing(screen, *parts.draw, offers)
    tie_choosing(screen, parts.choose, parts.settings, parts.animate[0])
    tie_animating(screen, *parts.animate, animate_jobs)
    tie_animating(screen, *parts.text, animate_jobs)
    tie_animating(screen, *parts.crafter, dynamicrafter_jobs)
    tie_editing(screen, parts.edit[0], parts.edit[1:], parts.edit_clip)
    tie_story(screen, *parts.story)
    tie_results(screen, parts.result, parts.settings)
    tie_queue(screen, parts.queue, parts.change)
    tie_history(screen, parts.history, parts.animate[0])


def _keep_up(page: gr.Blocks, screen: Screen, parts: _Parts, offers: Offers) -> None:
    """The page as it was when it is opened again, and kept up with the queue."""
    drafts = {form.name: keep_fields(form) for form in parts.forms}

    def restore(data: dict[Any, Any], request: gr.Request) -> Updates:
        desk, memory = screen.visit(request, data[screen.memory])
        said = {name: data[draft] for name, draft in drafts.items()}
        updates = screen.paint(desk, memory, data[screen.how_many])
        return updates | _restored(desk, memory, parts, offers, said)

    def tick(said: Any, seen: Any, how_many: int, request: gr.Request) -> list[Any]:
        desk, _ = screen.visit(request, said)
        return _ordered(screen, screen.tick(desk, said, seen, how_many))

    inputs: set[Any] = {screen.memory, screen.how_many, *drafts.values()}
    fields = [field for form in parts.forms for field in form.typed.values()]
    page.load(restore, inputs, [*screen.boards, *fields, parts.edit_clip, *parts.ends], **quiet)
    timer = gr.Timer(_TICK_S)
    timer.tick(tick, [screen.memory, screen.seen, screen.how_many], screen.boards, **quiet)


def _ordered(screen: Screen, updates: Updates) -> list[Any]:
    return [updates.get(component, gr.skip()) for component in screen.boards]


def _restored(
    desk: Desk, memory: Memory, parts: _Parts, offers: Offers, drafts: Mapping[str, Any]
) -> Updates:
    """What was typed, chosen and taken in."""
    first_frame = first_frame_of(desk, memory)
    updates: Updates = {parts.edit_clip: clip_line(desk, memory, first_frame)}
    updates |= dict.fromkeys(parts.ends, end_line(desk, memory))
    for form in parts.forms:
        updates |= filled(form, kept_values(form, drafts[form.name]))
    draw, prompt = parts.draw[0], parts.animate[0].fields["prompt"]
    updates |= kept_look(draw, offers, drafts[draw.name])
    if not updates.get(prompt):
        updates[prompt] = prompt_to_begin_with(desk, memory.still, "")
    return updates
