"""What one client could use up, or leave behind: each has an end."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.server.conftest import DRAW, Api, Hand, WithTokens, check_problem
from tests.server.hostile import picture_bytes

from stillmotion.queueing.queue import JobQueue
from stillmotion.server import events
from stillmotion.server.limits import MAX_HEAD_BYTES, ServerLimits
from stillmotion.server.logs import JsonLines

SHOT = {"draw": "a"}
OURS = {"stillmotion.server", "uvicorn.error"}


def full(_: object) -> SimpleNamespace:
    return SimpleNamespace(free=1000)


@pytest.mark.parametrize(
    ("job", "said", "field"),
    [
        (DRAW | {"prompt": "a\ud800"}, "no character", "job.prompt"),
        (DRAW | {"prompt": "a\0b"}, "no character", "job.prompt"),
        ({"kind": "story", "script": {"shots": [{"draw": "\udfff"}]}}, "", ""),
        ({"kind": "animate", "still": {"artifact": "0" * 32, "name": "a\0"}}, "no character",
         "job.still.name"),
        ({"kind": "story", "script": {"shots": [SHOT] * 257}}, "at most 256", "job.script.shots"),
        (DRAW | {"lora": ["x"] * 257}, "at most 256", "job.lora"),
        ({"kind": "evaluate", "prompt": "a", "still": {"artifact": "0" * 32},
          "clips": [{"artifact": "0" * 32}] * 65}, "at most 64", "job.clips"),
    ],
)  # fmt: skip
def test_jobs_that_would_break_or_block_the_server(
    api: Api, job: Any, said: str, field: str
) -> None:
    headers = {"content-type": "application/json"}
    refused = api.ask("POST", "/v1/jobs", content=json.dumps({"job": job}), headers=headers)
    check_problem(refused, 422, said, field)
    # Half a character that was stored would break every list that it is in.
    assert api.get("/v1/jobs")["jobs"] == []


def test_many_shots_cost_little_to_look_at(api: Api) -> None:
    """The description of a model is read once, not for each shot of a story."""
    before = time.process_time()
    api.submit({"kind": "story", "script": {"shots": [SHOT] * 256}})
    assert time.process_time() - before < 1


def test_a_page_of_large_jobs_is_short(api: Api) -> None:
    """An answer with all that was asked for could be larger than memory."""
    large = DRAW | {"prompt": "é" * 50_000}
    ids = [api.submit(large)["id"] for _ in range(9)]
    found, after = [], ""
    while True:
        page = api.get(f"/v1/jobs?limit=200{after}")
        assert len(page["jobs"]) < 9
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == ids[::-1]
    answer = api.ask("POST", "/v1/jobs", json={"job": DRAW | {"prompt": "a" * 140_000}})
    check_problem(answer, 413, "131072 bytes")


def test_jobs_that_have_ended_are_forgotten_in_the_end(
    with_tokens: WithTokens, hand: Hand, library: Path
) -> None:
    apis = with_tokens(ServerLimits(max_ended=20))
    ada, bob = apis["ada"], apis["bob"]
    others = bob.submit()["id"]
    kept = ada.submit()["id"]
    for _ in range(60):
        ada.ask("DELETE", f"/v1/jobs/{ada.submit()['id']}")
    jobs = ada.get("/v1/jobs?limit=200")["jobs"]
    ended = [job for job in jobs if job["state"] == "cancelled"]
    assert 20 <= len(ended) <= 36
    assert kept in {job["id"] for job in jobs}  # it waits
    assert bob.get(f"/v1/jobs/{others}")["state"] == "queued"
    remembered = {job["id"] for job in jobs} | {others}
    told = JobQueue(library).events(limit=10_000)
    assert {event.job_id for event in told if event.kind != "deleted"} == remembered


def test_a_full_disk_takes_no_jobs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", full)
    refused = api.ask("POST", "/v1/jobs", json={"job": DRAW})
    check_problem(refused, 503, "1000 bytes left")
    assert "retry-after" in refused.headers
    assert api.get("/v1/jobs")["jobs"] == []


@pytest.mark.parametrize("as_form", [False, True])
def test_a_disk_that_fills_up_ends_an_upload(
    api: Api, library: Path, monkeypatch: pytest.MonkeyPatch, as_form: bool
) -> None:
    """There is room when it begins; a second look comes after a mebibyte."""
    looks, plain = [], shutil.disk_usage

    def usage(folder: Path) -> Any:
        looks.append(folder)
        return plain(folder) if len(looks) == 1 else full(folder)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head if as_form else b"\x89PNG"
        while True:
            sent += 1 << 18
            yield bytes(1 << 18)

    kind = "multipart/form-data; boundary=b" if as_form else "image/png"
    answer = api.ask("POST", "/v1/pictures", content=body(), headers={"content-type": kind})
    check_problem(answer, 503, "1000 bytes left")
    assert sent <= 2 << 20
    assert [path for path in (library / "incoming").rglob("*") if path.is_file()] == []


def ask_slowly(api: Api, count: int, then: str, path: str = "/v1/pictures") -> list[httpx.Response]:
    """So many uploads whose bodies do not end, and another request while they last."""

    async def run() -> list[httpx.Response]:
        end = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield picture_bytes()
            await end.wait()

        transport = httpx.ASGITransport(app=api.app)
        headers = {"authorization": f"Bearer {api.token}", "content-type": "image/png"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as to:
            slow = [
                asyncio.create_task(to.post(path, content=body(), headers=headers))
                for _ in range(count)
            ]
            await asyncio.sleep(0.3)
            found = [await to.request(then, path, headers=headers, content=b"")]
            end.set()
            return [*found, *await asyncio.gather(*slow)]

    return asyncio.run(run())


def test_uploads_of_a_token_are_counted(with_tokens: WithTokens) -> None:
    ada = with_tokens(max_uploads=2)["ada"]
    refused, *others = ask_slowly(ada, 2, "POST")
    check_problem(refused, 429, "uploads: 2 are open for this token")
    assert [answer.status_code for answer in others] == [201, 201]
    assert ada.service.uploads.taken == 0


def test_requests_of_a_token_are_counted(with_tokens: WithTokens) -> None:
    """Slow ones must not take up all connections."""
    apis = with_tokens(max_requests=2)
    refused, *others = ask_slowly(apis["ada"], 2, "GET")
    check_problem(refused, 429, "requests: 2 are open for this token")
    assert [answer.status_code for answer in others] == [201, 201]
    assert apis["ada"].get("/v1/jobs")["jobs"] == []
    assert apis["ada"].service.requests.taken == 0


def test_a_long_past_is_read_in_pieces(
    api: Api, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BATCH", 10)
    job = api.submit()
    for index in range(35):
        api.service.queue.set_priority(job["id"], index)
    hand.complete()
    asked, plain = [], api.service.queue.events
    monkeypatch.setattr(
        api.service.queue, "events", lambda *args, **more: asked.append(1) or plain(*args, **more)
    )
    answer = api.ask("GET", f"/v1/jobs/{job['id']}/events")
    assert answer.text.count("event: moved") == 35
    assert answer.text.rstrip().count("event: end") == 1
    assert len(asked) >= 4


def test_a_stream_ends_when_its_token_is_taken_back(
    with_tokens: WithTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.1)
    ada = with_tokens()["ada"]
    job = ada.submit()
    path = tmp_path / "tokens.json"

    async def run() -> str:
        transport = httpx.ASGITransport(app=ada.app)
        headers = {"authorization": f"Bearer {ada.token}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as to:
            stream = asyncio.create_task(
                to.get(f"/v1/jobs/{job['id']}/events", headers=headers, timeout=20)
            )
            await asyncio.sleep(0.5)
            assert not stream.done()
            known = json.loads(path.read_text())
            known["tokens"] = [one for one in known["tokens"] if one["name"] != "ada"]
            path.write_text(json.dumps(known))
            return (await asyncio.wait_for(stream, 10)).text

    said = asyncio.run(run())
    assert "event: state" in said
    assert "event: end" not in said
    assert ada.service.streams.taken == 0


@pytest.mark.parametrize("key", ["x" * 129, "", "a b", "ü", "a\tb"])
def test_other_keys_are_refused(api: Api, key: str) -> None:
    headers = {"idempotency-key": key.encode("latin-1")}
    refused = api.ask("POST", "/v1/jobs", json={"job": DRAW}, headers=headers)
    check_problem(refused, 422, "", "idempotency-key")
    assert api.get("/v1/jobs")["jobs"] == []


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"x": "y" * MAX_HEAD_BYTES}},
        {"headers": {f"x{index}": "y" * 99 for index in range(200)}},
        {"params": {"kind": "y" * MAX_HEAD_BYTES}},
    ],
)
def test_large_heads_are_refused(api: Api, options: Any) -> None:
    refused = api.ask("GET", "/v1/jobs", **options)
    check_problem(refused, 431, "head")
    assert refused.headers["connection"] == "close"


def test_nothing_of_a_request_makes_a_line_of_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    line = '{"event": "forged"}'
    api.ask("GET", f"/v1/jobs/%0a{line}%0d%0a")
    api.ask(
        "GET", "/v1/jobs", headers={"user-agent": b"\x85" + line.encode(), "x-request-id": "forged"}
    )
    api.ask("POST", "/v1/jobs", json={"job": DRAW | {"prompt": f"\n{line}\u2028"}})
    lines = [JsonLines().format(record) for record in caplog.records if record.name in OURS]
    assert len(lines) >= 3
    assert not any("forged" in one or len(one.splitlines()) != 1 for one in lines)


def test_a_name_is_not_a_header_nor_a_path(api: Api, hand: Hand, library: Path) -> None:
    """Whatever should come to stand in the tables."""
    api.submit()
    hand.complete()
    [artifact] = api.get("/v1/artifacts")["artifacts"]
    where, path = f"/v1/artifacts/{artifact['id']}", api.service.library.path(artifact["id"])
    connection = api.service.queue._database.connection()

    def rename(name: str) -> None:
        connection.execute("UPDATE artifacts SET name = ? WHERE id = ?", (name, artifact["id"]))

    content = path.read_bytes()
    for name in ('a"; x="b.png', "a\r\nSet-Cookie: a=b.png", "ü\u202e.png", "a;b.png"):
        (path.parent / name).write_bytes(content)
        rename(name)
        answer = api.ask("GET", where)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        given = answer.headers["content-disposition"]
        assert given.isascii()
        assert given.isprintable()
        assert given.count(";") == 1
    (library / "secret").write_text("secret")
    for name in ("../../secret", str(library / "secret"), "../../queue.sqlite", "..", ""):
        rename(name)
        check_problem(api.ask("GET", where), 404, "artifact")


def test_a_queue_that_is_held_is_told_as_busy(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(api.service.queue, "list", locked)
    answer = api.ask("GET", "/v1/jobs")
    check_problem(answer, 503, "try again")
    assert "retry-after" in answer.headers
    [record] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert json.loads(JsonLines().format(record))["error"] == "database is locked"
