"""The client against a server that breaks off, refuses, and changes its mind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from stillmotion.client import connection
from stillmotion.client.connection import Client
from stillmotion.client.refusals import Refusal, Unreachable
from stillmotion.errors import InputError

Handler = Callable[[httpx.Request], httpx.Response]
CONTENT = bytes(range(256)) * 10


def client_of(handler: Handler, token: str | None = None) -> Client:
    return Client("http://127.0.0.1:1", token, transport=httpx.MockTransport(handler), patience=0)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.0)
    for name in ("STILLMOTION_SERVER", "STILLMOTION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def frame(kind: str, number: int | None = None) -> str:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps({'kind': kind})}\n\n"


def test_a_job_is_followed_over_broken_streams() -> None:
    answers = [frame("state") + frame("started", 4) + "event: half\n", frame("state"),
               frame("state") + frame("done", 9) + frame("end")]  # fmt: skip
    known: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        known.append(request.headers.get("last-event-id"))
        return httpx.Response(200, text=answers[len(known) - 1])

    heard = [event.kind for event in client_of(handler).events("0" * 32)]
    assert heard == ["state", "started", "state", "state", "done", "end"]
    assert known == [None, "4", "4"]


def test_a_refusal_is_its_sentence() -> None:
    details = {"detail": "job.steps is 0.", "field": "job.steps", "type": "urn:x"}

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        return httpx.Response(429, json=details, headers={"retry-after": "7"})

    with pytest.raises(Refusal, match=r"job\.steps is 0\.") as refused:
        client_of(handler, "secret").submit({"kind": "draw"})
    assert (refused.value.status, refused.value.field) == (429, "job.steps")
    assert refused.value.retry_after == 7
    with pytest.raises(Refusal, match="answered 502"):
        client_of(lambda _: httpx.Response(502, text="<html>")).job("x")
    with pytest.raises(Refusal):
        list(client_of(lambda _: httpx.Response(404, json=details)).events("x"))


def test_who_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    client = client_of(handler)
    for call in (lambda: client.job("x"), lambda: list(client.events("x"))):
        with pytest.raises(Unreachable, match="stillmotion serve"):
            call()
    with pytest.raises(Unreachable, match="is no address"):
        Client("ftp://x").job("x")


def test_sending_a_job_again_makes_one() -> None:
    keys = []

    def handler(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx.ReadError("broken")
        return httpx.Response(202, json={"id": "x"})

    assert client_of(handler).submit({"kind": "draw"})["id"] == "x"
    assert len(keys) == 2
    assert len(set(keys)) == 1


class Files:
    """A file that can be fetched by ranges; every third request breaks."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.asked = content, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked % 3 == 0:
            raise httpx.ReadError("broken")
        etag = f'"{hashlib.sha256(self.content).hexdigest()}"'
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        if request.headers.get("if-range", etag) != etag:
            return httpx.Response(200, content=self.content, headers={"etag": etag})
        if first >= len(self.content):
            return httpx.Response(416, json={"detail": "beyond."})
        part = self.content[first : last + 1]
        place = f"bytes {first}-{first + len(part) - 1}/{len(self.content)}"
        return httpx.Response(206, content=part, headers={"etag": etag, "content-range": place})


@pytest.mark.parametrize("content", [CONTENT, CONTENT[:1], b""])
@pytest.mark.parametrize("part", [1000, 2560, 10**6])
def test_a_file_is_fetched_in_parts(tmp_path: Path, content: bytes, part: int) -> None:
    path = tmp_path / "file"
    found = client_of(Files(content)).download("x", path, part=part)
    assert path.read_bytes() == content
    assert found == hashlib.sha256(content).hexdigest()


def test_parts_of_two_files_are_not_joined(tmp_path: Path) -> None:
    files = Files()

    def handler(request: httpx.Request) -> httpx.Response:
        answer = files(request)
        files.content = CONTENT[::-1]
        return answer

    with pytest.raises(InputError, match="was replaced"):
        client_of(handler).download("x", tmp_path / "file", part=1000)
    assert list(tmp_path.iterdir()) == []


def test_pages_are_joined() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        after = request.url.params.get("after")
        assert "state" not in request.url.params
        rest = None if after else 5
        return httpx.Response(200, json={"jobs": [{"id": after or "first"}], "next": rest})

    assert [job["id"] for job in client_of(handler).jobs(state=None)] == ["first", "5"]
