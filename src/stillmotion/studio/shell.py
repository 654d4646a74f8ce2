"""Gradio's page written anew.

The stock page names pictures on other machines, a manifest that is not there, and a script for
being embedded elsewhere.  Here only what the page needs is taken from it: its configuration, its
script and its style; the rest is ours, under a content policy that lets nothing leave for other
machines.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from html import escape

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stillmotion.studio.downloads import FILES
from stillmotion.studio.login import FORMS_REFERRER

_CONFIGURATION = re.compile(r"<script>(window\.gradio_config = .*?;)</script>", re.DOTALL)
_INTERFACE = re.compile(r"<script>(window\.gradio_api_info = .*?;)</script>", re.DOTALL)
_SCRIPT = re.compile(r'<script type="module" crossorigin src="(\./assets/[\w-]+\.js)"></script>')
_STYLE = re.compile(r'<link rel="stylesheet" crossorigin href="(\./assets/[\w-]+\.css)">')
# Gradio's HTML boards are templates that it compiles in the browser: hence 'unsafe-eval'.  Nothing
# that people write is ever part of such a template.
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; form-action 'self'; "
    "base-uri 'self'; frame-ancestors 'none'"
)
_OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""For whatever else Gradio answers: a file that was uploaded must not act as a page."""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<base href="./">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<script nonce="{nonce}">{configuration}</script>
<script nonce="{nonce}">{interface}</script>
<script nonce="{nonce}">window.__gradio_mode__ = "app";</script>
<script src="{files}/studio.js"></script>
<script type="module" crossorigin src="{script}"></script>
<link rel="stylesheet" crossorigin href="{style}">
<link rel="stylesheet" href="{files}/studio.css">
</head>
<body>
<noscript>The studio needs JavaScript; everything it does can also be done by HTTP, see
/openapi.json.</noscript>
<gradio-app control_page_title="false" embed="false" eager="true"></gradio-app>
</body>
</html>
"""


class PageChangedError(RuntimeError):
    """Gradio's page is not the one that is known here."""


def rewritten(page: str, title: str, nonce: str) -> str:
    """Our page around Gradio's application.  Raises PageChangedError for another page."""
    parts = {
        "configuration": _CONFIGURATION, "interface": _INTERFACE, "script": _SCRIPT,
        "style": _STYLE,
    }  # fmt: skip
    found = {name: pattern.search(page) for name, pattern in parts.items()}
    lacking = [name for name, match in found.items() if match is None]
    if lacking:
        raise PageChangedError(
            f"gradio's page has no {', '.join(lacking)} where they were; this version of gradio "
            "is not one that the studio knows"
        )
    texts = {name: match.group(1) for name, match in found.items() if match is not None}
    return _PAGE.format(title=escape(title), nonce=nonce, files=FILES, **texts)


@dataclass(frozen=True)
class Shell:
    """Around Gradio's application: its page rewritten, and a content policy on all answers."""

    app: ASGIApp
    title: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self.title)
        await self.app(_plain(scope), receive, answer.send)


def _plain(scope: Scope) -> Scope:
    """The same request, whose answer is not to be compressed."""
    headers = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    return {**scope, "headers": headers}


class _Answer:
    """Passes an answer on; holds back a page until it is whole."""

    def __init__(self, send: Send, title: str) -> None:
        self._send, self._title = send, title
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith("text/html") and message["status"] == 200:
                self._start = message
                return
            MutableHeaders(scope=message)["Content-Security-Policy"] = _OTHER_POLICY
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_page(self._start)
            return
        await self._send(message)

    async def _send_page(self, start: Message) -> None:
        nonce = secrets.token_urlsafe(16)
        page = rewritten(self._body.decode(), self._title, nonce).encode()
        headers = MutableHeaders(scope=start)
        if self._body:
            headers["Content-Length"] = str(len(page))
        headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
        headers["Cache-Control"] = "no-store"
        headers["Referrer-Policy"] = FORMS_REFERRER
        await self._send(start)
        await self._send({"type": "http.response.body", "body": page if self._body else b""})
