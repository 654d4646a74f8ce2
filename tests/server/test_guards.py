"""What every request passes first, on a small application."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from stillmotion.errors import InputError, StillmotionError
from stillmotion.server.bodies import BodyGuard
from stillmotion.server.guards import (
    LOOPBACK_NAMES,
    HostCheck,
    OriginCheck,
    TokenCheck,
    host_name,
)
from stillmotion.server.limits import ServerLimits, TokenLimits
from stillmotion.server.logs import JsonLines
from stillmotion.server.metrics import Metrics
from stillmotion.server.problems import KINDS, MEDIA_TYPE, answer_problem
from stillmotion.server.rates import Places, RateLimiter
from stillmotion.server.shield import Shield
from stillmotion.server.tokens import TokenBook, add_token

LIMITS = ServerLimits(max_json_bytes=1000, body_seconds=0.2, request_seconds=0.5, send_seconds=0.3)
SECRET = "a prompt that nobody else may read"


def build(book: TokenBook | None = None) -> FastAPI:
    metrics = Metrics()
    app = FastAPI(
        middleware=[
            Middleware(Shield, metrics=metrics, mounted=("/pages",)),
            Middleware(HostCheck, allowed=LOOPBACK_NAMES),
            Middleware(OriginCheck),
            Middleware(
                TokenCheck,
                book=book,
                rates=RateLimiter(),
                requests=Places(9, "requests"),
                metrics=metrics,
            ),
            Middleware(BodyGuard, limits=LIMITS),
        ]
    )
    for error in (HTTPException, RequestValidationError, StillmotionError):
        app.add_exception_handler(error, answer_problem)

    @app.get("/healthz")
    async def health() -> str:
        return "ok"

    @app.post("/echo")
    async def echo(content: dict[str, int]) -> dict[str, int]:
        return content

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.get("/defect")
    async def defect() -> None:
        raise RuntimeError(SECRET)

    @app.get("/mistake")
    async def mistake() -> None:
        raise InputError("The frames are 0; give 1 or more.")

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.sleep(30)

    @app.get("/pages/one")
    async def page(request: Request) -> str:
        return request.state.principal.name

    return app


Ask = Callable[..., httpx.Response]


def asking(app: FastAPI) -> Ask:
    """Send one request to the application, as a browser on this machine would."""

    def ask(method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8420"
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    return ask


@pytest.fixture
def ask() -> Ask:
    return asking(build())


def check_problem(response: httpx.Response, status: int, said: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    details = response.json()
    assert details["status"] == status
    assert details["type"].startswith("urn:stillmotion:problem:")
    assert details["title"]
    assert said in details["detail"]
    assert details["detail"].endswith(".")
    assert "Traceback" not in response.text


def test_answers_carry_the_security_headers(ask: Ask) -> None:
    headers = ask("GET", "/healthz").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "content-security-policy" not in ask("GET", "/pages/one").headers
    assert "access-control-allow-origin" not in headers
    assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "said"),
    [
        ("GET", "/nothing", {}, 404, "openapi.json"),
        ("PUT", "/echo", {}, 405, "POST"),
        ("POST", "/echo", {"json": {"a": "x"}}, 422, "a is 'x'"),
        ("POST", "/echo", {"content": b"{", "headers": {"content-type": "application/json"}}, 400,
         "not valid JSON"),
        ("POST", "/echo", {"content": b"[" * 900, "headers": {"content-type": "application/json"}},
         400, "JSON"),
        ("GET", "/mistake", {}, 422, "give 1 or more"),
        ("GET", "/slow", {}, 503, "longer than 0.5 s"),
    ],
)  # fmt: skip
def test_refusals_are_problem_details(
    ask: Ask, method: str, path: str, options: Any, status: int, said: str
) -> None:
    check_problem(ask(method, path, **options), status, said)


def test_a_defect_tells_nothing_and_is_logged_without_its_message(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stillmotion.server")
    response = ask("GET", "/defect")
    check_problem(response, 500, "failed")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert SECRET not in response.text + "".join(lines)
    [defect] = [json.loads(line) for line in lines if json.loads(line)["event"] == "defect"]
    assert defect["error"] == "RuntimeError"
    assert "test_guards.py" in defect["at"][-1]
    assert defect["request"] == response.headers["x-request-id"]


def test_a_body_is_counted_while_it_arrives(ask: Ask) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(100)
        raise AssertionError("the body was read although it is too large")

    check_problem(ask("POST", "/count", content=endless()), 413, "1000 bytes")
    check_problem(ask("POST", "/count", content=bytes(1001)), 413, "1000 bytes")
    assert ask("POST", "/count", content=bytes(1000)).json() == 1000


def test_a_body_that_stalls_is_given_up(ask: Ask) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    check_problem(ask("POST", "/count", content=stalling()), 408, "0.2 s")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost.", "127.0.0.1@x"]
)
def test_other_hosts_are_refused(ask: Ask, host: str) -> None:
    check_problem(ask("GET", "/healthz", headers={"host": host}), 421, "Host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8420", "[::1]:9"])
def test_own_hosts_are_served(ask: Ask, host: str) -> None:
    assert ask("GET", "/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8420.evil.example"},
        {"origin": "http://[broken"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_changes_for_other_sites_are_refused(ask: Ask, headers: dict[str, str]) -> None:
    check_problem(ask("POST", "/echo", json={}, headers=headers), 403, "Origin")


def test_changes_for_own_pages_are_made(ask: Ask) -> None:
    headers = {"origin": "http://127.0.0.1:8420", "sec-fetch-site": "same-origin"}
    assert ask("POST", "/echo", json={"a": 1}, headers=headers).json() == {"a": 1}


def test_without_a_token_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = add_token(path, "ada", admin=False, limits=TokenLimits(requests_per_minute=3))
    ask = asking(build(TokenBook(path)))
    assert ask("GET", "/healthz").status_code == 200
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {token}"}):
        for where in ("/pages/one", "/nothing", "/openapi.json"):
            refused = ask("GET", where, headers=headers)
            check_problem(refused, 401, "token")
            assert "Bearer" in refused.headers["www-authenticate"]
    mine = {"authorization": f"Bearer {token}"}
    assert [ask("GET", "/pages/one", headers=mine).json() for _ in range(3)] == ["ada"] * 3
    refused = ask("GET", "/pages/one", headers=mine)
    check_problem(refused, 429, "3 requests a minute")
    assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.B:80", "a.b"), ("[::1]", "::1"), ("[::1]:80", "::1"), ("x", "x"), ("", ""), ("[", "")],
)
def test_host_names(header: str, name: str) -> None:
    assert host_name(header) == name


def test_kinds_of_problems_differ() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) > 15
    assert all(400 <= kind.status < 600 for kind in KINDS)
