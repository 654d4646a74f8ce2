"""Events of a job: all of them, once, in order, to everyone who listens, from where one was."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from tests.server.conftest import Api, Hand, WithTokens, check_problem

from stillmotion.client.streams import Event, read_events
from stillmotion.queueing.views import Claim
from stillmotion.server import events
from stillmotion.server.events import EventHub, encode


def read(frames: Iterable[bytes]) -> list[Event]:
    return list(read_events(b"".join(frames).decode().split("\n")))


def kinds(found: Iterable[Event]) -> list[str]:
    return [event.kind for event in found]


def work(hand: Hand, claim: Claim, steps: int) -> None:
    for step in range(steps):
        hand.leases.heartbeat(claim, progress=(step + 1) / steps, message=f"step {step}")
    hand.leases.heartbeat(claim, preview=b"a picture")


def follow(
    api: Api, job_id: str, doing: Callable[[], Any], *, listeners: int = 1, since: int = 0
) -> list[list[Event]]:
    """What several listeners hear while `doing` is done in a thread, after the first event."""

    async def listen(started: asyncio.Semaphore) -> list[Event]:
        frames = []
        async for frame in api.service.hub.follow(job_id, since):
            frames.append(frame)
            if len(frames) == 1:
                started.release()
        return read(frames)

    async def run() -> list[list[Event]]:
        started = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(listen(started)) for _ in range(listeners)]
        for _ in tasks:
            await started.acquire()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(doing)
        return await asyncio.wait_for(asyncio.gather(*tasks), 20)

    return asyncio.run(run())


def test_everyone_hears_all_of_it(api: Api, hand: Hand) -> None:
    job = api.submit()
    claim = hand.claim()

    def doing() -> None:
        work(hand, claim, 5)
        threading.Event().wait(0.3)
        hand.complete(claim)

    heard = follow(api, job["id"], doing, listeners=20)
    assert all(one == heard[0] for one in heard)
    assert kinds(heard[0]) == [
        "state", "queued", "started", *["progress"] * 5, "preview", "done", "end"
    ]  # fmt: skip
    numbers = [event.number for event in heard[0] if event.number is not None]
    assert numbers == sorted(set(numbers))
    preview = next(event for event in heard[0] if event.kind == "preview")
    assert base64.b64decode(preview.data["image"]) == b"a picture"
    assert heard[0][-1].data == api.get(f"/v1/jobs/{job['id']}")
    assert api.service.hub.listening == 0


def test_who_comes_back_goes_on_where_it_was(api: Api, hand: Hand) -> None:
    job = api.submit()
    claim = hand.claim()
    work(hand, claim, 3)
    before = api.service.queue.events(job_id=job["id"])
    [heard] = follow(api, job["id"], lambda: hand.complete(claim), since=before[2].number)
    assert [event.number for event in heard][1:-2] == [event.number for event in before[3:]]
    assert kinds(heard)[-2:] == ["done", "end"]


def test_an_ended_job_is_told_over_http(api: Api, hand: Hand) -> None:
    job = api.submit()
    hand.complete()
    where = f"/v1/jobs/{job['id']}/events"
    answer = api.ask("GET", where)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    heard = read([answer.content])
    assert kinds(heard) == ["state", "queued", "started", "done", "end"]
    done = heard[-2].number
    again = api.ask("GET", where, headers={"last-event-id": str(done)})
    assert kinds(read([again.content])) == ["state", "end"]
    assert kinds(read([api.ask("GET", f"{where}?since={done}").content])) == ["state", "end"]
    for wrong in ("x", "-1", "9" * 40):
        refused = api.ask("GET", where, headers={"last-event-id": wrong})
        check_problem(refused, 422, "last-event-id")


def test_a_failed_job_that_is_tried_again_goes_on(api: Api, hand: Hand) -> None:
    job = api.submit()
    hand.leases.fail(hand.claim(), "it broke.", retryable=False)
    api.ask("POST", f"/v1/jobs/{job['id']}/retry")
    [heard] = follow(api, job["id"], hand.complete)
    assert [kind for kind in kinds(heard) if kind in ("failed", "retried", "done", "end")] == [
        "failed", "retried", "done", "end",
    ]  # fmt: skip


def test_a_forgotten_job_ends(api: Api) -> None:
    job = api.submit()

    def doing() -> None:
        api.service.queue.cancel(job["id"])
        api.service.queue.delete(job["id"])

    [heard] = follow(api, job["id"], doing)
    assert heard[-1] == Event(None, "end", {"id": job["id"], "state": "deleted"})


def run_hub(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 20))


def test_streams_end_when_the_server_does(api: Api) -> None:
    job = api.submit()

    async def body() -> None:
        hub = api.service.hub
        heard = []
        async for frame in hub.follow(job["id"], 0):
            heard.append(frame)
            if len(heard) == 2:
                asyncio.get_running_loop().call_later(0.2, hub.close)
        assert kinds(read(heard)) == ["state", "queued"]

    run_hub(body)


def test_silence_is_filled(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.05)
    job = api.submit()

    async def body() -> None:
        stream = api.service.hub.follow(job["id"], 0)
        frames = [await anext(stream) for _ in range(4)]
        assert frames[2:] == [events.PING] * 2
        await stream.aclose()
        assert api.service.hub.listening == 0

    run_hub(body)


def test_who_does_not_read_is_let_go(api: Api, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_WAITING_EVENTS", 4)
    job = api.submit()
    claim = hand.claim()

    async def body() -> None:
        stream = api.service.hub.follow(job["id"], 0)
        first = [await anext(stream) for _ in range(3)]
        # The third is read, so the stream waits; now more happens than may wait.
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(work, hand, claim, 1)
        await task
        await asyncio.to_thread(work, hand, claim, 20)
        await asyncio.sleep(0.6)
        rest = [frame async for frame in stream]
        assert "end" not in kinds(read([*first, *rest]))

    run_hub(body)


def test_streams_of_a_token_are_counted(with_tokens: WithTokens, hand: Hand) -> None:
    apis = with_tokens(max_streams=1)
    ada, bob = apis["ada"], apis["bob"]
    job, other = ada.submit(), bob.submit()
    hand.complete()
    hand.complete()
    where = f"/v1/jobs/{job['id']}/events"
    ada.service.streams.take("ada", 1)
    refused = ada.ask("GET", where)
    check_problem(refused, 429, "event streams")
    assert "retry-after" in refused.headers
    assert bob.ask("GET", f"/v1/jobs/{other['id']}/events").status_code == 200
    ada.service.streams.give_back("ada")
    for _ in range(3):  # each gives its place back
        assert ada.ask("GET", where).status_code == 200


def test_events_are_one_line_each() -> None:
    frame = encode("progress", {"message": "a\nb\r\ndata: x\u2028é"}, 3)
    assert frame.count(b"\n") == 4
    assert read([frame]) == [Event(3, "progress", {"message": "a\nb\r\ndata: x\u2028é"})]


def test_a_hub_reads_only_while_someone_listens(api: Api, hand: Hand) -> None:
    job = api.submit()
    hand.complete()

    async def body() -> None:
        hub = EventHub(api.service.queue)
        async for _ in hub.follow(job["id"], 0):
            pass
        await asyncio.sleep(0.3)
        assert hub._reader is not None
        assert hub._reader.done()

    run_hub(body)
