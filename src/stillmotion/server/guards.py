"""Who may ask: the host, the site, the token, before a request reaches the application.

From the outside in: `Shield` (shield.py), `HostCheck` (DNS rebinding), `OriginCheck` (CSRF),
`TokenCheck`, `BodyGuard` (bodies.py).  Plain ASGI, since some of them must stop a body that is
still arriving, and the first answers when the framework itself fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from stillmotion.server.metrics import Metrics
from stillmotion.server.problems import (
    OTHER_SITE,
    TOKEN_NEEDED,
    TOO_MANY,
    WRONG_HOST,
    ProblemError,
)
from stillmotion.server.rates import Places, RateLimiter
from stillmotion.server.tokens import LOCAL, Principal, TokenBook, bearer_token

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered without a token: they tell nothing but whether the server lives."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class HostCheck:
    """Refuses a Host that is not in `allowed`; an empty set allows all."""

    app: ASGIApp
    allowed: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.allowed:
            given = host_name(Headers(scope=scope).get("host", ""))
            if given not in self.allowed:
                raise ProblemError(
                    WRONG_HOST,
                    f"The Host header is {given[:80]!a}; this server answers to "
                    f"{', '.join(sorted(self.allowed))} (an operator adds names with --host-name).",
                )
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class OriginCheck:
    """Refuses a change that a page of another site asks for."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            headers = Headers(scope=scope)
            if not _same_site(headers):
                raise ProblemError(
                    OTHER_SITE,
                    f"The Origin header is {headers.get('origin', '')[:80]!a}; only pages of this "
                    "server may change something: leave the header out in programs.",
                )
        await self.app(scope, receive, send)


def _same_site(headers: Mapping[str, str]) -> bool:
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc == headers.get("host")


@dataclass(frozen=True)
class TokenCheck:
    """Finds out who asks, and how much; `book` None lets everybody in as `LOCAL`, uncounted."""

    app: ASGIApp
    book: TokenBook | None
    rates: RateLimiter
    requests: Places
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "lifespan"):
            return  # a websocket, of which this server has none: closed without a word
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if self.book is None:
            state["principal"] = LOCAL
            await self.app(scope, receive, send)
            return
        principal = state["principal"] = self._principal(self.book, scope)
        self._check_rate(principal)
        # Slow bodies, slow readers and streams of one token must not take up all connections.
        with self.requests.place(principal.name, principal.limits.max_requests):
            await self.app(scope, receive, send)

    def _principal(self, book: TokenBook, scope: Scope) -> Principal:
        token = bearer_token(Headers(scope=scope).get("authorization"))
        found = book.find(token) if token is not None else None
        if found is None:
            self.metrics.refused("token")
            raise ProblemError(
                TOKEN_NEEDED,
                "The token is missing or not known; send 'Authorization: Bearer TOKEN' with "
                "one that the operator gave you.",
                headers={"WWW-Authenticate": 'Bearer realm="stillmotion"'},
            )
        return found

    def _check_rate(self, principal: Principal) -> None:
        wait = self.rates.seconds_to_wait(principal.name, principal.limits.requests_per_minute)
        if wait > 0:
            self.metrics.refused("rate")
            raise ProblemError(
                TOO_MANY,
                f"{principal.limits.requests_per_minute} requests a minute are allowed; wait "
                f"{max(1, ceil(wait))} s.",
                retry_after=ceil(wait),
            )


def host_name(header: str) -> str:
    """`LOCALHOST:8000` -> `localhost`, `[::1]:80` -> `::1`."""
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header
