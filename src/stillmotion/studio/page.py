"""The page: four steps on the left, the queue and what was made on the right."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import gradio as gr

from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnimateJob, DrawJob, InterpolateJob, LoopJob, parse_job
from stillmotion.queueing.views import JobView
from stillmotion.server.service import Service
from stillmotion.studio.actions import animate_jobs, dynamicrafter_jobs, form_values
from stillmotion.studio.animate_panel import animate_form, text_form, tie_animating
from stillmotion.studio.choose_panel import choose_form, tie_choosing
from stillmotion.studio.desk import Desk
from stillmotion.studio.draw_panel import draw_form, tie_drawing
from stillmotion.studio.dynamicrafter_panel import dynamicrafter_form
from stillmotion.studio.edit_panel import edit_form, tie_editing
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.history_panel import tie_history
from stillmotion.studio.memory import STORAGE_KEY, Memory
from stillmotion.studio.offers import Offers
from stillmotion.studio.queue_panel import EditBox, tie_queue
from stillmotion.studio.result_panel import tie_results
from stillmotion.studio.screen import FIRST_HISTORY, Screen, board, quiet

TITLE = "stillmotion studio"
_TICK_S = 0.8
_DELETE_UPLOADS_S = (600, 3600)
"""Gradio's own copies of what was dropped in, should any be left: how often they are looked for,
and how old they get."""
_HEADER = """
<header class="sm-top">
  <h1>stillmotion studio</h1>
  <p>Draw a still, choose one, and animate exactly that still.</p>
  <label class="sm-scheme">Colours
    <select id="sm-scheme">
      <option value="auto">as the system</option>
      <option value="light">light</option>
      <option value="dark">dark</option>
    </select>
  </label>
</header>
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
    result: Form
    queue: Form
    change: EditBox
    history: Form
    settings: gr.HTML


def build_page(service: Service) -> gr.Blocks:
    """The studio over a service; nothing of it asks another machine."""
    # Gradio counts its users by default, also when it is merely imported by someone.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    offers = Offers.of(service)
    page: gr.Blocks
    with gr.Blocks(
        title=TITLE, analytics_enabled=False, delete_cache=_DELETE_UPLOADS_S, fill_width=True
    ) as page:
        gr.HTML(_HEADER, js_on_load=None, apply_default_css=False)
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
        _tie(screen, _Parts(**main, **side), offers)
        _keep_up(page, screen, (main["draw"][0], main["animate"][0]))
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
    tie_results(screen, parts.result, parts.settings)
    tie_queue(screen, parts.queue, parts.change)
    tie_history(screen, parts.history, parts.animate[0])


def _keep_up(page: gr.Blocks, screen: Screen, forms: tuple[Form, Form]) -> None:
    """The page as it was when it is opened again, and kept up with the queue."""

    def restore(said: Any, how_many: int, request: gr.Request) -> Updates:
        desk, memory = screen.visit(request, said)
        return screen.paint(desk, memory, how_many) | _filled(desk, memory, forms)

    def tick(said: Any, seen: Any, how_many: int, request: gr.Request) -> list[Any]:
        desk, _ = screen.visit(request, said)
        return _ordered(screen, screen.tick(desk, said, seen, how_many))

    fields = [field for form in forms for field in form.fields.values()]
    page.load(restore, [screen.memory, screen.how_many], [*screen.boards, *fields], **quiet)
    timer = gr.Timer(_TICK_S)
    timer.tick(tick, [screen.memory, screen.seen, screen.how_many], screen.boards, **quiet)


def _ordered(screen: Screen, updates: Updates) -> list[Any]:
    return [updates.get(component, gr.skip()) for component in screen.boards]


def _filled(desk: Desk, memory: Memory, forms: tuple[Form, Form]) -> Updates:
    """The forms of steps 1 and 3 as the newest jobs were asked for."""
    updates: Updates = {}
    for form, ids in zip(forms, (memory.drawn[:1], memory.made[:1]), strict=True):
        for view in desk.jobs(ids):
            updates |= _asked(form, view)
    return updates


def _asked(form: Form, view: JobView) -> Updates:
    try:
        job = parse_job(view.job)
    except FieldError:
        return {}  # of a version that had other fields
    method = getattr(job, "method", None)
    wanted = isinstance(job, DrawJob | AnimateJob | LoopJob | InterpolateJob)
    return form.filled(form_values(job)) if wanted and method != "dynamicrafter" else {}
