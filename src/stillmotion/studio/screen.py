"""What all panels share: the browser's memory, the boards, and how these are painted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from stillmotion.server.logs import places, tell
from stillmotion.server.service import Service
from stillmotion.server.tokens import LOCAL
from stillmotion.studio.boards import (
    clips_board,
    history_board,
    queue_board,
    status_line,
    stills_board,
)
from stillmotion.studio.cards import Now
from stillmotion.studio.desk import Desk, Refusal
from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.memory import Memory
from stillmotion.studio.turns import Turns

FIRST_HISTORY = 12
CLICKS = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (!button || (button.dataset.ask && !window.confirm(button.dataset.ask))) return;
  trigger('act', {act: button.dataset.act, id: button.dataset.id});
});
"""
"""Tells Python which button of a board was pressed."""
_LOST_AFTER_S = 4.0
"""An answer that has not arrived by then is given again."""
_DEFECT = "The studio failed at this; the server's log tells more."


@dataclass(kw_only=True)
class Screen:
    """The parts of the page that every action can change."""

    service: Service
    memory: gr.BrowserState
    seen: gr.State
    """What was painted last, so that only what changed is sent."""
    how_many: gr.State
    """Results that the history shows."""
    stills: gr.HTML
    clips: gr.HTML
    queue: gr.HTML
    history: gr.HTML
    status: gr.HTML

    @property
    def boards(self) -> list[Any]:
        """What `paint` changes."""
        return [
            self.memory, self.seen, self.stills, self.clips, self.queue, self.history, self.status,
        ]  # fmt: skip

    turns: Turns = field(default_factory=Turns, init=False)

    def visit(self, request: gr.Request, said: Any) -> tuple[Desk, Memory]:
        """The queue and the library as the one who asks may use them, and the page's memory.

        `said`: what the browser has; newer is what the page was last told.
        """
        asked = request.request
        principal = getattr(asked.state, "principal", LOCAL) if asked is not None else LOCAL
        page = request.session_hash or ""
        with self.turns.of(page) as turn:
            memory = turn.memory or Memory.read(said)
        return Desk(self.service, principal, page), memory

    def paint(self, desk: Desk, memory: Memory, how_many: int = FIRST_HISTORY) -> Updates:
        """All boards anew, and the browser's memory."""
        with self.turns.of(desk.page) as turn:
            turn.memory, turn.told_at = memory, time.monotonic()
            return self._painted(desk, memory, how_many)

    def tick(self, desk: Desk, said: Any, seen: Any, how_many: int) -> Updates:
        """The same if anything happened since; else nothing."""
        known = seen if isinstance(seen, dict) else {}
        with self.turns.of(desk.page) as turn:
            memory = turn.memory or Memory.read(said)
            if Memory.read(said) != memory:
                # Asked before something was pressed: the answer to that tells it all.
                lost = time.monotonic() - turn.told_at > _LOST_AFTER_S
                return self.paint(desk, memory, how_many) if lost else {}
            if all(known.get(name) == value for name, value in _seen(desk, memory).items()):
                return {}
            updates = self._painted(desk, memory, how_many)
        updates.pop(self.memory)
        return updates

    def _painted(self, desk: Desk, memory: Memory, how_many: int) -> Updates:
        # Read first: what happens while the boards are made is painted the next time.
        seen = _seen(desk, memory)
        now = Now(desk, memory, time.time())
        return {
            self.memory: memory.said(),
            self.seen: seen,
            self.stills: stills_board(now),
            self.clips: clips_board(now),
            self.queue: queue_board(now),
            self.history: history_board(now, how_many),
            self.status: status_line(now),
        }


def _seen(desk: Desk, memory: Memory) -> dict[str, Any]:
    """What the boards depend on, as far as it changes."""
    return {
        "event": desk.queue.last_event(), "memory": memory.said(), "readiness": desk.readiness(),
    }  # fmt: skip


def told(form: Form, act: Callable[[], Updates]) -> Updates:
    """What `act` changes, with no sentences left; or the sentence of what went wrong."""
    try:
        return form.said() | act()
    except Refusal as refusal:
        return form.said(refusal)
    except Exception as error:
        tell("studio", logging.ERROR, error=type(error).__name__, at=places(error))
        return form.said(Refusal("", _DEFECT))


quiet: dict[str, Any] = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}
"""How handlers are tied to events: at once, and without a veil over what they change."""


def board(id_: str, label: str) -> gr.HTML:
    """A place for a board, whose buttons raise the event `act`."""
    return gr.HTML(
        elem_id=f"sm-{id_}",
        elem_classes="sm-board",
        js_on_load=CLICKS,
        apply_default_css=False,
        label=label,
    )


def pressed(event: gr.EventData) -> tuple[str, str]:
    """Which button of a board: what it does, and to what."""
    said = event._data if isinstance(event._data, dict) else {}
    return str(said.get("act", "")), str(said.get("id", ""))
