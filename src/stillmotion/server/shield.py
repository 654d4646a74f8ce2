"""The outermost layer of every request: answers for defects, security headers, counts and logs."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stillmotion.server.limits import MAX_HEAD_BYTES
from stillmotion.server.logs import places, tell
from stillmotion.server.metrics import Metrics
from stillmotion.server.problems import (
    BUSY,
    DEFECT,
    ProblemError,
    as_problem,
    head_too_large,
    problem_response,
)

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
API_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "no-store",
}
"""For all but pages that are mounted beside the API."""


_API = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json")


def is_page(path: str, mounted: tuple[str, ...]) -> bool:
    """Whether a path is one of the pages that are mounted beside the API."""
    return bool(mounted) and path.startswith(mounted) and not path.startswith(_API)


@dataclass(frozen=True)
class Shield:
    """The outermost layer.  `mounted`: paths below which pages set their own content policy."""

    app: ASGIApp
    metrics: Metrics
    mounted: tuple[str, ...] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, answer = time.perf_counter(), _Answer()
        scope.setdefault("state", {})["request_id"] = secrets.token_hex(8)

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                self._add_headers(scope, message)
            await send(message)

        try:
            _check_head(scope)
            await self.app(scope, receive, send_marked)
        except BrokenAnswerError:
            raise
        except Exception as error:
            problem = as_problem(error) or self._defect(scope, error)
            if answer.status is not None:
                raise BrokenAnswerError from None  # too late to say it; the connection is closed
            await problem_response(problem)(scope, receive, send_marked)
        finally:
            self._note(scope, answer.status, time.perf_counter() - started)

    def _add_headers(self, scope: Scope, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        page = is_page(scope["path"], self.mounted)
        for name, value in (SECURITY_HEADERS if page else SECURITY_HEADERS | API_HEADERS).items():
            headers.setdefault(name, value)
        headers["X-Request-Id"] = scope["state"]["request_id"]

    @staticmethod
    def _defect(scope: Scope, error: Exception) -> ProblemError:
        number = scope["state"]["request_id"]
        if isinstance(error, sqlite3.OperationalError):
            # The disk is full, or another process holds the queue: it passes, or an operator helps.
            tell("queue", logging.ERROR, request=number, error=str(error), at=places(error))
            return ProblemError(
                BUSY, "The queue cannot be used now; try again later.", retry_after=10
            )
        tell("defect", logging.ERROR, request=number, error=type(error).__name__, at=places(error))
        return ProblemError(
            DEFECT, f"The server failed; its log tells more under the request '{number}'."
        )

    def _note(self, scope: Scope, status: int | None, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        self.metrics.answered(scope["method"], route, status or 0, seconds)
        tell(
            "request",
            request=scope["state"]["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            token=getattr(scope["state"].get("principal"), "name", None),
        )


def _check_head(scope: Scope) -> None:
    """Refuse a large one that came in one piece, and so was read.  Raises ProblemError (431)."""
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if max(size, len(scope.get("raw_path") or b""), len(scope["query_string"])) > MAX_HEAD_BYTES:
        raise head_too_large()


@dataclass
class _Answer:
    status: int | None = None


class BrokenAnswerError(Exception):
    """An answer that has begun and cannot be finished: the connection is closed."""
