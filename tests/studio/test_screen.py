"""What an open page is told, in which order, and who is taken for whom."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from tests.studio.conftest import Hand
from tests.studio.test_boards import draw

from stillmotion.server.service import Service
from stillmotion.server.tokens import LOCAL, Principal
from stillmotion.studio import screen as screens
from stillmotion.studio.desk import Desk, Refusal
from stillmotion.studio.forms import Form
from stillmotion.studio.memory import Memory
from stillmotion.studio.screen import Screen, told
from stillmotion.studio.turns import Turns

STILL = "a" * 32


@pytest.fixture
def screen(service: Service) -> Screen:
    with gr.Blocks(analytics_enabled=False):
        parts = {name: gr.HTML() for name in ("stills", "clips", "queue", "history", "status")}
        return Screen(service=service, memory=gr.BrowserState({}), seen=gr.State({}),
                      how_many=gr.State(12), **parts)  # fmt: skip


@pytest.fixture
def page(service: Service) -> Desk:
    return Desk(service, LOCAL, "page")


def asking(principal: Principal | None = None, page: str = "page") -> Any:
    state = SimpleNamespace(principal=principal) if principal else SimpleNamespace()
    return SimpleNamespace(request=SimpleNamespace(state=state), session_hash=page)


def test_the_one_who_asks_is_the_one_with_the_token(screen: Screen) -> None:
    ada = Principal(name="ada", admin=False, limits=LOCAL.limits)
    assert screen.visit(asking(ada), {})[0].principal is ada
    assert screen.visit(asking(), {})[0].principal is LOCAL


def test_nothing_is_sent_when_nothing_happened(screen: Screen, page: Desk, hand: Hand) -> None:
    memory = Memory(still=STILL)
    seen = screen.paint(page, memory)[screen.seen]
    assert screen.tick(page, memory.said(), seen, 12) == {}
    draw(page)
    updates = screen.tick(page, memory.said(), seen, 12)
    assert "1 waiting" in updates[screen.queue]
    assert screen.memory not in updates
    assert screen.tick(page, memory.said(), updates[screen.seen], 12) == {}


def test_a_look_that_began_before_a_press_does_not_undo_it(screen: Screen, page: Desk) -> None:
    before = Memory().said()
    screen.paint(page, Memory(still=STILL))
    assert screen.tick(page, before, {}, 12) == {}
    assert screen.visit(asking(), before)[1] == Memory(still=STILL)
    other = Desk(page.service, LOCAL, "another page")
    assert screen.tick(other, before, {}, 12) != {}


def test_an_answer_that_was_lost_is_given_again(
    screen: Screen, page: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen.paint(page, Memory(still=STILL))
    monkeypatch.setattr(screens, "_LOST_AFTER_S", -1.0)
    assert screen.tick(page, Memory().said(), {}, 12)[screen.memory] == Memory(still=STILL).said()


def test_a_page_waits_for_its_turn_and_others_do_not() -> None:
    turns, waited = Turns(), threading.Event()

    def take(page: str) -> None:
        with turns.of(page):
            waited.set()

    with turns.of("page"):
        other = threading.Thread(target=take, args=("another page",))
        other.start()
        assert waited.wait(5)
        other.join()
        waited.clear()
        same = threading.Thread(target=take, args=("page",))
        same.start()
        assert not waited.wait(0.1)
    same.join(5)
    assert waited.is_set()


def test_sentences_go_to_their_field_and_away_again() -> None:
    with gr.Blocks(analytics_enabled=False):
        form = Form("draw")
        form.add("steps", gr.Textbox)
        form.note()

    def refuse(field: str) -> Any:
        def act() -> Any:
            raise Refusal(field, "Steps is 0.")

        return told(form, act)

    place, whole = form.notes["steps"], form.notes[""]
    said = refuse("steps")
    assert 'role="alert"' in said[place]
    assert said[whole] == ""
    assert "Steps is 0." in refuse("elsewhere")[whole]
    assert told(form, lambda: {"x": 1}) == {place: "", whole: "", "x": 1}


def test_defects_become_a_sentence_without_their_text() -> None:
    with gr.Blocks(analytics_enabled=False):
        form = Form("draw")
        form.note()

    def act() -> Any:
        raise RuntimeError("/secret/place")

    [said] = told(form, act).values()
    assert "log tells more" in said
    assert "secret" not in said


@dataclass
class Loading:
    """Workers that load their model."""

    count: int = 0
    warm_up: str | None = "miniature"

    def ready(self) -> int:
        return self.count


def test_whether_the_miniature_is_ready_is_told_and_told_anew(
    screen: Screen, service: Service
) -> None:
    engine = Loading()
    desk = Desk(replace(service, engine=cast(Any, engine)), LOCAL, "page")
    painted = screen.paint(desk, Memory())
    assert "The miniature is loading" in painted[screen.queue]
    assert screen.tick(desk, Memory().said(), painted[screen.seen], 12) == {}
    engine.count = 1
    updates = screen.tick(desk, Memory().said(), painted[screen.seen], 12)
    assert "The miniature is ready." in updates[screen.queue]
    engine.warm_up = None
    assert desk.readiness() == ""
    assert Desk(service, LOCAL).readiness() == ""
