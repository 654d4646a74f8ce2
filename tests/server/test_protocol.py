"""What happens below the application: bytes that are no request, and clients that stall."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import Any

import pytest
import uvicorn

from stillmotion.server.app import create_app
from stillmotion.server.guards import LOOPBACK_NAMES
from stillmotion.server.limits import ServerLimits, TokenLimits
from stillmotion.server.problems import MEDIA_TYPE
from stillmotion.server.service import make_service
from stillmotion.server.serving import _room_for_connections, uvicorn_config
from stillmotion.server.tokens import TokenBook, add_token

LIMITS = ServerLimits(header_seconds=0.6, send_seconds=0.6, max_connections=4)
HOST = b"Host: 127.0.0.1\r\n"


@contextmanager
def running(folder: Path, book: TokenBook | None = None) -> Iterator[tuple[uvicorn.Server, int]]:
    """A server in a thread, with the number of its port."""
    service = make_service(folder, limits=LIMITS, hosts=LOOPBACK_NAMES, book=book)
    server = uvicorn.Server(uvicorn_config(create_app(service), LIMITS))
    with socket.socket() as listener:
        # Small, so that it does not take megabytes to fill them.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        wait_for(lambda: server.started)
        yield server, listener.getsockname()[1]
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[uvicorn.Server, int]]:
    with running(tmp_path_factory.mktemp("server") / "library") as found:
        yield found


@pytest.fixture
def port(server: tuple[uvicorn.Server, int]) -> int:
    wait_for(lambda: not server[0].server_state.connections)
    return server[1]


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def read_all(line: socket.socket) -> bytes:
    """To the end of the connection."""
    found = b""
    while part := line.recv(65536):
        found += part
    return found


def told(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, json.loads(body)


BROKEN = {
    "no request": (b"hello\r\n\r\n", 400, "bad-request"),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(99), 400, "bad-request"),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad-request"),
    "two hosts": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: b\r\n\r\n", 400, "bad-request"),
    "two lengths": (
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400, "bad-request",
    ),
    "header without colon": (b"GET / HTTP/1.1\r\n" + HOST + b"x\r\n\r\n", 400, "bad-request"),
    "folded secret": (b"GET / HTTP/1.1\r\n" + HOST + b"a: \0\r\n\r\n", 400, "bad-request"),
    "large header": (
        b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 40000 + b"\r\n\r\n", 431, "head-too-large",
    ),
    "endless line": (b"GET /" + b"y" * 40000, 431, "head-too-large"),
    "other encoding": (
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n",
        501, "not-implemented",
    ),
    "broken chunk": (
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nxyz\r\n", 400, "bad-request",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_refused_as_everything_is(port: int, name: str) -> None:
    sent, status, kind = BROKEN[name]
    with connect(port) as line:
        line.sendall(sent)
        found, headers, details = told(read_all(line))
    assert (found, details["status"]) == (status, status)
    assert headers["content-type"] == MEDIA_TYPE
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["connection"].lower() == "close"
    assert details["type"] == f"urn:stillmotion:problem:{kind}"
    assert details["title"]
    assert details["detail"].endswith(".")


@pytest.mark.parametrize("wanted", [b"websocket", b"h2c", b"TLS/1.0"])
def test_an_upgrade_is_passed_over(
    port: int, wanted: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    asked = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, close\r\nUpgrade: "
    with connect(port) as line:
        line.sendall(asked + wanted + b"\r\n\r\n")
        status, _, said = told(read_all(line))
    assert (status, said) == (200, {"status": "ok"})
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_head_that_does_not_end_is_given_up(port: int) -> None:
    with connect(port) as silent, connect(port) as begun:
        started = time.monotonic()
        # A byte now and then gives no more time.  None is sent at 0.6 s, when the answer comes:
        # what a closed connection still receives resets it, and the answer is lost.
        while not select([begun], [], [], 0.25)[0]:
            begun.sendall(b"x")
            assert time.monotonic() - started < 5
        status, headers, details = told(read_all(begun))
        assert (status, headers["content-type"]) == (408, MEDIA_TYPE)
        assert "0.6 s" in details["detail"]
        assert read_all(silent) == b""


def test_a_body_that_nobody_wants_is_not_waited_for(tmp_path: Path) -> None:
    """Without a token: answered at once, and then a byte now and then, for ever."""
    path = tmp_path / "tokens.json"
    add_token(path, "ada", admin=False, limits=TokenLimits())
    with running(tmp_path / "library", TokenBook(path)) as (server, port), connect(port) as line:
        line.sendall(b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 999999\r\n\r\n")
        assert line.recv(12) == b"HTTP/1.1 401"
        for _ in range(20):
            if not server.server_state.connections:
                break
            try:
                line.sendall(b"x")
            except OSError:
                break
            time.sleep(0.1)
        wait_for(lambda: not server.server_state.connections, 2)


def fill(port: int, sent: bytes) -> socket.socket:
    """A connection whose client sends all this, as far as it goes, and reads nothing."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    line.settimeout(1)
    with suppress(OSError):
        line.sendall(sent)
    return line


def wait_for_the_cut(server: uvicorn.Server) -> None:
    """Its buffers fill, and then the only connection is gone."""
    connections = server.server_state.connections
    wait_for(lambda: any(one.flow.write_paused for one in list(connections)))
    wait_for(lambda: not connections)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_who_does_not_read_is_cut_off(
    server: tuple[uvicorn.Server, int], port: int, last: bytes
) -> None:
    """Many requests in a row, whose answers fill all buffers."""
    head = b"GET /openapi.json HTTP/1.1\r\n" + HOST
    with fill(port, (head + b"\r\n") * 100 + head + last + b"\r\n"):
        wait_for_the_cut(server[0])


def test_who_does_not_read_refusals_is_cut_off(tmp_path: Path) -> None:
    """No token is needed to be refused."""
    path = tmp_path / "tokens.json"
    add_token(path, "ada", admin=False, limits=TokenLimits())
    with running(tmp_path / "library", TokenBook(path)) as (server, port):
        head = b"GET /v1/jobs HTTP/1.1\r\n" + HOST
        with fill(port, (head + b"\r\n") * 500):
            wait_for_the_cut(server)


def test_who_is_one_too_many_is_told_so_and_the_others_are_served_on(port: int) -> None:
    asked = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    lines = [connect(port) for _ in range(LIMITS.max_connections)]
    try:
        for line in lines:
            line.sendall(asked)
            assert line.recv(12) == b"HTTP/1.1 200"
        with connect(port) as more:
            more.sendall(asked)
            status, headers, details = told(read_all(more))
        assert (status, headers["content-type"]) == (503, MEDIA_TYPE)
        assert "retry-after" in headers
        assert "connections" in details["detail"]
        lines[0].sendall(asked)
        assert b"HTTP/1.1 200" in lines[0].recv(4096) + lines[0].recv(4096)
    finally:
        for line in lines:
            line.close()


def test_there_are_files_enough_for_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    now = [1024, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: now.__setitem__(slice(None), both))
    assert _room_for_connections(2000) == 2000
    assert now == [2512, 4096]
    assert _room_for_connections(100) == 100
    assert now == [2512, 4096]
    assert _room_for_connections(9000) == 4096 - 512
    now[:] = [600, 600]
    assert _room_for_connections(2000) == 88
