"""What a server says when it refuses, as an error with its one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from stillmotion.errors import InputError


class Refusal(InputError):
    """The server refused; the text is its sentence."""

    def __init__(self, status: int, details: dict[str, Any], retry_after: float | None) -> None:
        super().__init__(str(details.get("detail") or f"The server answered {status}."))
        self.status = status
        self.type = str(details.get("type", "about:blank"))
        self.field: str | None = details.get("field")
        self.retry_after = retry_after


class Unreachable(InputError):
    """No server answers."""


def check(response: httpx.Response) -> httpx.Response:
    """The response, if it is no refusal.  Raises Refusal."""
    if response.status_code < 400:
        return response
    try:
        details = json.loads(response.read())
    except ValueError:
        details = {}
    retry_after = response.headers.get("retry-after", "")
    raise Refusal(
        response.status_code,
        details if isinstance(details, dict) else {},
        float(retry_after) if retry_after.isdecimal() else None,
    )


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn a failing connection into one sentence.  Raises Unreachable."""
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Unreachable(
            f"'{address}' is no address of a server; give one such as http://127.0.0.1:8420."
        ) from error
    except httpx.TransportError as error:
        raise Unreachable(
            f"No server answers at {address} ({type(error).__name__}); start one with `stillmotion "
            "serve`, or give its address with --server."
        ) from error
