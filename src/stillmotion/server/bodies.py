"""How large a body may be, counted while it arrives, and how long all may take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stillmotion.server.limits import ServerLimits
from stillmotion.server.problems import BUSY, TOO_LARGE, TOO_SLOW, ProblemError
from stillmotion.server.shield import BrokenAnswerError, is_page

UPLOAD_PATHS = {"/v1/pictures": "max_picture_bytes", "/v1/clips": "max_clip_bytes"}
_DOWNLOADS = "/v1/artifacts/"
_MULTIPART_EXTRA = 1 << 16
"""What a form adds to a file."""


@dataclass(frozen=True)
class BodyGuard:
    """Counts a body while it arrives, and lets neither reader nor writer stall for ever."""

    app: ASGIApp
    limits: ServerLimits
    mounted: tuple[str, ...] = ()
    """Paths of pages beside the API, which have streams and uploads of their own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, endless = self._rules(scope["path"])
        _check_announced(Headers(scope=scope).get("content-length"), limit)
        body = _Body(receive, limit, self.limits.body_seconds)

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self.limits.send_seconds):
                await send(message)

        seconds = None if endless else self.limits.request_seconds
        try:
            async with asyncio.timeout(seconds) as clock:
                await self.app(scope, body.receive, send_in_time)
        except TimeoutError:
            if not clock.expired():
                raise BrokenAnswerError from None  # nobody reads the answer
            raise ProblemError(
                BUSY,
                f"The answer took longer than {self.limits.request_seconds:g} s; try again later.",
                retry_after=self.limits.request_seconds,
            ) from None

    def _rules(self, path: str) -> tuple[int, bool]:
        """How many bytes may come, and whether all may last as long as something moves."""
        limits, path = self.limits, path.rstrip("/")
        if path in UPLOAD_PATHS:
            return getattr(limits, UPLOAD_PATHS[path]) + _MULTIPART_EXTRA, True
        if is_page(path, self.mounted):
            return limits.max_clip_bytes + _MULTIPART_EXTRA, True
        return limits.max_json_bytes, path.endswith("/events") or path.startswith(_DOWNLOADS)


def _check_announced(length: str | None, limit: int) -> None:
    if length is not None and length.isdecimal() and int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        TOO_LARGE, f"The body has more than {limit} bytes, the most that is taken here."
    )


@dataclass
class _Body:
    """The incoming side of a request under a limit of bytes and of silence."""

    source: Receive
    limit: int
    seconds: float
    seen: int = 0
    complete: bool = False

    async def receive(self) -> Message:
        if self.complete:
            return await self.source()  # waits for the end of the connection, however long
        try:
            async with asyncio.timeout(self.seconds):
                message = await self.source()
        except TimeoutError:
            raise ProblemError(
                TOO_SLOW, f"Nothing of the body arrived for {self.seconds:g} s; send it again."
            ) from None
        self.seen += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self.seen > self.limit:
            raise _too_large(self.limit)
        return message
