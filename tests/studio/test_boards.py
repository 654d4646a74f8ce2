"""What the page shows of the queue and the library."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest
from tests.studio.conftest import Hand, guest

from stillmotion.queueing.views import JobView
from stillmotion.server.service import Service
from stillmotion.studio.actions import animate_jobs, draw_jobs
from stillmotion.studio.boards import (
    clip_line,
    clips_board,
    history_board,
    queue_board,
    settings_board,
    status_line,
    stills_board,
)
from stillmotion.studio.cards import Now
from stillmotion.studio.desk import Desk
from stillmotion.studio.markup import duration, element, note, seconds_left, state_of, title_of
from stillmotion.studio.memory import Memory

HOSTILE = "<script>alert(1)</script> \" onload='x' ${alert(2)} {{value}} & <img src=x onerror=y>"


class Tags(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data

    def acts(self) -> list[str | None]:
        return [attributes["data-act"] for _, attributes in self.found if "data-act" in attributes]


def now(desk: Desk, **memory: Any) -> Now:
    return Now(desk, Memory(**memory), time.time())


def draw(desk: Desk, prompt: str = "a red balloon", **more: Any) -> tuple[str, ...]:
    values = {"prompt": prompt, "seed": 1, "count": 1, **more}
    return desk.submit(lambda: draw_jobs(values))


def made_clip(desk: Desk, hand: Hand, **more: Any) -> tuple[str, str]:
    """A still, and the job of a clip of it that is done."""
    [drawn] = draw(desk)
    finish_all(desk, hand)
    still = desk.mains(desk.job(drawn))[0].id
    values = {"still_id": still, "prompt": "it rises", "seed": 2, "format": "mp4", **more}
    [job] = desk.submit(lambda: animate_jobs(values))
    hand.finish()
    return still, job


def finish_all(desk: Desk, hand: Hand) -> None:
    while desk.queue.waiting():
        hand.finish()


def test_stills_appear_one_after_the_other(desk: Desk, hand: Hand) -> None:
    ids = draw(desk, count=3)
    before = Tags(stills_board(now(desk, drawn=ids)))
    assert before.acts() == ["cancel"] * 3
    hand.finish()
    hand.claim()
    tags = Tags(stills_board(now(desk, drawn=ids)))
    assert tags.acts() == ["pick", "end", "settings", "cancel", "cancel"]
    assert "is being made" in tags.said
    assert "waits" in tags.said


def test_the_chosen_still_is_marked_and_shown_though_it_is_of_another_row(
    desk: Desk, hand: Hand
) -> None:
    [job] = draw(desk)
    hand.finish()
    still = desk.mains(desk.job(job))[0].id
    pressed = [
        attributes["aria-pressed"]
        for _, attributes in Tags(stills_board(now(desk, still=still))).found
        if attributes.get("data-act") == "pick"
    ]
    assert pressed == ["true"]
    assert "Chosen" not in stills_board(now(desk, drawn=(job,)))


def test_failures_are_told_where_they_happened(desk: Desk, hand: Hand) -> None:
    [job] = draw(desk)
    hand.leases.fail(hand.claim(), "The disk is full; make room.", retryable=False)
    tags = Tags(stills_board(now(desk, drawn=(job,))))
    assert tags.acts() == ["retry", "drop"]
    assert "The disk is full; make room." in tags.said
    assert ("p", {"class": "sm-note", "role": "alert"}) in tags.found


def test_clips_stand_beside_their_still(desk: Desk, hand: Hand) -> None:
    still, job = made_clip(desk, hand)
    tags = Tags(clips_board(now(desk, made=(job,))))
    clip = desk.mains(desk.job(job))[0].id
    sources = [attributes.get("src") for tag, attributes in tags.found if tag in ("img", "video")]
    assert sources == [
        f"/v1/artifacts/{still}?inline=true", f"/v1/artifacts/{clip}?inline=true",
    ]  # fmt: skip
    assert tags.acts() == ["last-frame", "settings", "again", "drop"]
    links = [attributes["href"] for tag, attributes in tags.found if tag == "a"]
    assert links[:5] == [
        f"/v1/artifacts/{clip}", *(f"/studio-files/clips/{clip}/{name}"
                                   for name in ("gif", "webp", "webm", "frames")),
    ]  # fmt: skip
    assert any("json" in said for said in re.findall(r">([^<]+)</a>", clips_board(
        now(desk, made=(job,)))))  # fmt: skip


def test_a_clip_made_twice_is_compared(desk: Desk, hand: Hand) -> None:
    still, first = made_clip(desk, hand)
    values = {"still_id": still, "prompt": "it rises", "seed": 2, "format": "mp4"}
    [second] = desk.submit(lambda: animate_jobs(values))
    hand.finish()
    said = Tags(clips_board(now(desk, made=(second, first)))).said
    assert said.count("byte for byte") == 1
    [other] = desk.submit(lambda: animate_jobs({**values, "seed": 3}))
    hand.finish()
    assert "first" not in Tags(clips_board(now(desk, made=(other, first)))).said


def test_nothing_that_people_write_becomes_markup(desk: Desk, hand: Hand) -> None:
    ids = draw(desk, prompt=HOSTILE)
    still, clip = made_clip(desk, hand, prompt=HOSTILE)
    look = now(desk, drawn=ids, made=(clip,), still=still, clip=clip)
    boards = [
        stills_board(look), clips_board(look), queue_board(look), history_board(look, 9),
        status_line(look), settings_board(HOSTILE, desk.job(clip).job, {"prompt": HOSTILE}),
        note(HOSTILE),
    ]  # fmt: skip
    for markup in boards:
        tags = Tags(markup)
        names = {name for _, attributes in tags.found for name in attributes}
        assert not {name for name in names if name.startswith("on")}
        assert "script" not in {tag for tag, _ in tags.found}
        assert all(a.get("src", "/").startswith("/") for _, a in tags.found)
    assert sum("<script>alert(1)" in Tags(markup).said for markup in boards) >= 4


def test_the_queue_has_the_buttons_that_each_state_allows(desk: Desk, hand: Hand) -> None:
    done, running, queued, paused = (draw(desk, seed=seed)[0] for seed in (1, 2, 3, 4))
    hand.finish()
    hand.claim()
    desk.act_on_job("pause", paused)
    tags = Tags(queue_board(now(desk)))
    by_job = {
        id_: [a["data-act"] for _, a in tags.found if a.get("data-id") == id_]
        for id_ in (done, running, queued, paused)
    }
    assert by_job == {
        running: ["cancel"],
        queued: ["sooner", "later", "edit", "pause", "cancel"],
        paused: ["sooner", "later", "edit", "resume", "cancel"],
        done: ["show", "forget"],
    }
    assert "pause-all" in tags.acts()
    desk.pause_queue(True)
    assert "resume-all" in Tags(queue_board(now(desk))).acts()


def test_only_admins_pause_the_whole_queue(service: Service) -> None:
    assert "pause-all" not in queue_board(now(guest(service)))


def test_every_id_of_a_board_is_there_once(desk: Desk, hand: Hand) -> None:
    ids = draw(desk, count=2)
    _, clip = made_clip(desk, hand)
    look = now(desk, drawn=ids, made=(clip,))
    whole = stills_board(look) + clips_board(look) + queue_board(look) + history_board(look, 9)
    found = [a["id"] for _, a in Tags(whole).found if "id" in a]
    assert len(found) == len(set(found)) > 10


def test_every_button_says_what_it_does(desk: Desk, hand: Hand) -> None:
    ids = draw(desk, count=2)
    _, clip = made_clip(desk, hand)
    look = now(desk, drawn=ids, made=(clip,))
    for board in (stills_board(look), clips_board(look), queue_board(look), history_board(look, 9)):
        tags = Tags(board)
        for tag, attributes in tags.found:
            if tag == "button" and attributes.get("data-id") not in ("queue", "history"):
                assert attributes["aria-label"]
            if tag == "img":
                assert attributes["alt"]


def test_history_grows_by_pages(desk: Desk, hand: Hand) -> None:
    for _ in draw(desk, count=4):
        hand.finish()
    assert "more" in Tags(history_board(now(desk), 3)).acts()
    assert "more" not in Tags(history_board(now(desk), 4)).acts()
    [question] = {a["data-ask"] for _, a in Tags(history_board(now(desk), 1)).found
                  if a.get("data-ask")}  # fmt: skip
    assert question is not None
    assert question.startswith("Delete")


def test_hints_stand_where_there_is_nothing(desk: Desk) -> None:
    look = now(desk)
    for board in (stills_board(look), clips_board(look), queue_board(look), history_board(look, 9)):
        assert "sm-hint" in board
    assert status_line(look) == ""
    assert "No clip yet" in clip_line(desk, Memory(), "")


def view(**fields: Any) -> JobView:
    usual: dict[str, Any] = {
        "id": "a" * 32, "kind": "draw", "job": {"prompt": "a", "seed": 3}, "state": "running",
        "priority": 0, "owner": "", "cost": 1.0, "attempts": 1, "max_attempts": 3, "progress": 0.25,
        "message": "", "error": None, "worker": None, "created_at": 0.0, "started_at": 100.0,
        "finished_at": None, "has_preview": False, "artifacts": (),
    }  # fmt: skip
    return JobView(**usual | fields)


def test_time_left_is_told_by_the_time_it_took() -> None:
    assert seconds_left(view(), 130.0) == pytest.approx(90.0)
    assert state_of(view(), 130.0) == "is being made, 25 %, about 2 min left"
    assert seconds_left(view(progress=0.0), 130.0) is None
    assert state_of(view(progress=0.0), 130.0) == "is being made: it begins"
    assert state_of(view(state="done"), 130.0) == "done"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (8.4, "8 s"), (89, "89 s"), (180, "3 min"),
                          (7500, "2 h 5 min")]
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_titles() -> None:
    assert title_of(view()) == "Still: a, seed 3"
    assert title_of(view(kind="edit", job={"format": "png", "prompt": "b"})) == "First frame: b"
    assert title_of(view(job={"prompt": "x" * 500})) == f"Still: {'x' * 89}…"


def test_elements() -> None:
    assert element("p", "a<b>", class_="x", data_id='"', hidden=True, title=None) == (
        '<p class="x" data-id="&quot;" hidden>a<b></p>'
    )
    assert element("img", src="/a") == '<img src="/a">'
