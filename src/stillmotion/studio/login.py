"""Where tokens are asked for: a form for the token, and a cookie in its place afterwards.

Browsers send no Authorization header by themselves.  The cookie holds a number that means nothing
elsewhere; it is kept from scripts and from other sites, and is forgotten when the server ends.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from html import escape
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stillmotion.server.tokens import TokenBook

LOGIN = "/studio-login"
LOGOUT = "/studio-logout"
COOKIE = "stillmotion_studio"
FORMS_REFERRER = "same-origin"
"""With the server's own `no-referrer` browsers send `Origin: null` with forms, as other sites do,
and are refused."""
_MAX_FORM_BYTES = 4096
_MAX_SESSIONS = 10_000
_LASTS_S = 30 * 24 * 3600
_AFTER_A_WRONG_ONE_S = 0.5
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; display: grid; min-height: 100vh;
  place-items: center; background: Canvas; color: CanvasText; }
main { width: min(22rem, 90vw); } h1 { font-size: 1.4rem; }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit; }
input, button { margin: .4rem 0 1rem; padding: .6rem .8rem; min-height: 2.75rem; }
button { background: #0f766e; color: white; border: 0; border-radius: .5rem; cursor: pointer; }
:focus-visible { outline: 3px solid #0d9488; outline-offset: 2px; }
p { border-left: 4px solid #dc2626; padding-left: .6rem; }
"""
_WRONG = "That token is not known here; ask the operator for one."
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>stillmotion studio</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<style>{style}</style></head>
<body><main>
<h1>stillmotion studio</h1>
<form method="post" action="{login}">
<label for="token">Your token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus
 {described}>
{note}
<button type="submit">Enter</button>
</form>
</main></body></html>
"""


@dataclass
class Sessions:
    """Who has shown a token."""

    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    def begin(self, token: str) -> str:
        """A new number for a token; the oldest go when there are too many."""
        while len(self._tokens) >= _MAX_SESSIONS:
            del self._tokens[next(iter(self._tokens))]
        session = secrets.token_urlsafe(32)
        self._tokens[session] = (token, time.monotonic() + _LASTS_S)
        return session

    def token(self, session: str | None) -> str | None:
        """The token behind a number."""
        token, until = self._tokens.get(session or "", ("", 0.0))
        return token if token and until > time.monotonic() else None

    def end(self, session: str | None) -> None:
        """Forget a number."""
        self._tokens.pop(session or "", None)


@dataclass(frozen=True)
class Doorman:
    """Before the check of tokens: turns the cookie into the header, and shows the form.

    `mounted`: the paths of pages, which send those without a token to the form.
    """

    app: ASGIApp
    book: TokenBook
    mounted: tuple[str, ...]
    sessions: Sessions = field(default_factory=Sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        session = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        token = self.sessions.token(session)
        if path == LOGIN:
            answer: Response | None = await self._login(Request(scope, receive))
        elif path == LOGOUT and scope["method"] == "POST":
            answer = self._logout(session)
        else:
            known = token is not None and self.book.find(token) is not None
            answer = self._to_form(scope, headers) if not known else None
        if answer is not None:
            await answer(scope, receive, send)
            return
        if token is not None and "authorization" not in headers:
            given = (b"authorization", b"Bearer " + token.encode())
            scope = {**scope, "headers": [*scope["headers"], given]}
        await self.app(scope, receive, send)

    def _to_form(self, scope: Scope, headers: Headers) -> Response | None:
        """For a person at a page; programs get the refusal that they understand."""
        if "authorization" in headers:
            return None
        wants_page = "text/html" in headers.get("accept", "") and scope["method"] == "GET"
        is_page = scope["path"] == "/" or scope["path"].startswith(self.mounted)
        return RedirectResponse(LOGIN, 303) if wants_page and is_page else None

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _form()
        token = await _token_in(request)
        if token is None or self.book.find(token) is None:
            await asyncio.sleep(_AFTER_A_WRONG_ONE_S)
            return _form(_WRONG)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, self.sessions.begin(token), max_age=_LASTS_S, path="/", httponly=True,
            samesite="strict", secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    def _logout(self, session: str | None) -> Response:
        self.sessions.end(session)
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(COOKIE, path="/")
        # What was typed is not for whoever uses this browser next.
        answer.headers["Clear-Site-Data"] = '"storage"'
        return answer


def _form(wrong: str = "") -> Response:
    note = f'<p role="alert" id="wrong">{escape(wrong)}</p>' if wrong else ""
    described = 'aria-describedby="wrong" aria-invalid="true"' if wrong else ""
    page = _PAGE.format(style=_STYLE, login=LOGIN, note=note, described=described)
    return HTMLResponse(
        page, 401 if wrong else 200,
        headers={
            "Content-Security-Policy": _POLICY, "Cache-Control": "no-store",
            "Referrer-Policy": FORMS_REFERRER,
        },
    )  # fmt: skip


async def _token_in(request: Request) -> str | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return None
    try:
        values = parse_qs(body.decode("ascii"), max_num_fields=4).get("token", [])
    except ValueError:
        return None
    return values[0].strip() if values else None
