"""HTTP/1.1 by uvicorn, whose own answers are problem details here, and which waits for nobody long.

uvicorn itself waits for ever: for a head that was begun, for the rest of a body after the answer,
and for a client that reads nothing.  Without any token a few hundred clients that send or read one
byte a minute would use up all connections.  What it refuses itself, before the application sees
it, it refuses as plain text.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from stillmotion.server.problems import (
    BAD_REQUEST,
    BUSY,
    HEAD_TOO_LARGE,
    NOT_IMPLEMENTED,
    TOO_SLOW,
    ProblemError,
    head_too_large,
    problem_response,
)
from stillmotion.server.shield import API_HEADERS, SECURITY_HEADERS

_EXTRA_CONNECTIONS = 64
"""So many beyond the limit are told that they are too many; who comes then is cut off."""
_ANSWERABLE = frozenset({h11.IDLE, h11.SEND_RESPONSE})


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a connection is waited for, and how many there may be."""

    head_seconds: float = 10.0
    """For the head of a request to arrive; for the rest of a body that nobody wanted."""
    send_seconds: float = 30.0
    """For a client to read what it is sent."""
    max_connections: int = 2000


class _Timer:
    """Calls once, unless it is stopped before; started again it goes on as it was."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, call: Callable[[], None]) -> None:
        """Bytes that trickle in do not give more time."""
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class PatientProtocol(H11Protocol):
    """Closes connections that stall, and says what it refuses as problem details."""

    patience = Patience()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head, self._reader = _Timer(self.loop), _Timer(self.loop)
        super().connection_made(transport)
        beyond = len(self.connections) - self.patience.max_connections
        if beyond > _EXTRA_CONNECTIONS:
            transport.abort()
            return
        if beyond > 0:
            # Those who were here before are served on.
            self.app = _too_many
        self._settle()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._settle()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._reader.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._reader.stop()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._settle()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what h11 could not read, while that error is handled."""
        self._refuse(_problem_of(getattr(sys.exception(), "error_status_hint", 400)))

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade may be passed over (RFC 9110, 7.8): the request is answered as it stands."""

    def _settle(self) -> None:
        """Wait for what has to come next, with an end: a head, the rest of a body, a reader."""
        if self.transport.is_closing():
            self._head.stop()
            self._wait_for_reader()
            return
        begun = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        is_answered = self.cycle is not None and self.cycle.response_complete
        if begun or (is_answered and self.conn.their_state is h11.SEND_BODY):
            self._head.start(self.patience.head_seconds, self._head_too_late)
        else:
            self._head.stop()

    def _wait_for_reader(self) -> None:
        self._reader.start(self.patience.send_seconds, self.transport.abort)

    def _head_too_late(self) -> None:
        if self.transport.is_closing():
            return
        # Who has said nothing, such as a browser that only connects ahead, is told nothing.
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            seconds = f"{self.patience.head_seconds:g}"
            self._refuse(
                ProblemError(
                    TOO_SLOW,
                    f"The head of the request took longer than {seconds} s; send it again.",
                )
            )
            return
        self.transport.close()
        self._settle()

    def _refuse(self, problem: ProblemError) -> None:
        """Answer in the place of the application, if nothing of an answer went out; then close."""
        if self.conn.our_state in _ANSWERABLE:
            self.transport.write(_answer(problem))
        if self.cycle is not None and not self.cycle.response_complete:
            # It is still at work on a request whose rest cannot be read.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._settle()


def patient_protocol(patience: Patience) -> type[PatientProtocol]:
    """The protocol with other limits."""
    return type("PatientProtocol", (PatientProtocol,), {"patience": patience})


def _problem_of(hint: int) -> ProblemError:
    """What h11 could not read, by the status that it proposes."""
    if hint == HEAD_TOO_LARGE.status:
        return head_too_large()
    if hint == NOT_IMPLEMENTED.status:
        return ProblemError(
            NOT_IMPLEMENTED,
            "This Transfer-Encoding is not known here; send the body as it is, or chunked.",
        )
    return ProblemError(BAD_REQUEST, "This is no HTTP/1.1 request; send one as RFC 9112 has it.")


def _answer(problem: ProblemError) -> bytes:
    """A whole response, not by way of h11, which may be in a state of error."""
    response = problem_response(problem)
    status = HTTPStatus(response.status_code)
    headers = dict(response.headers) | SECURITY_HEADERS | API_HEADERS | {"connection": "close"}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + bytes(response.body)


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of a connection that is one too many."""
    problem = ProblemError(
        BUSY,
        "The server has as many connections as it takes; try again later.",
        retry_after=5,
        headers={**SECURITY_HEADERS, **API_HEADERS, "Connection": "close"},
    )
    await problem_response(problem)(scope, receive, send)
