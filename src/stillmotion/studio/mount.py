"""The studio on the server's application: the same guards, the same tokens, the same queue.

settings = ServeSettings(folder=folder, mounted=MOUNTED, ...)
serve(settings, announce=print, extend=lambda app, service: mount_studio(app, service))
"""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse

from stillmotion.errors import InputError
from stillmotion.server.guards import TokenCheck
from stillmotion.server.service import Service
from stillmotion.studio.downloads import FILES, STUDY, router_of
from stillmotion.studio.login import Doorman
from stillmotion.studio.page import TITLE, build_page
from stillmotion.studio.shell import Shell
from stillmotion.studio.theme import studio_theme

PATH = "/studio"
MOUNTED = (f"{PATH}/", f"{FILES}/", STUDY)
"""What the server is told of, as these pages bring a content policy of their own."""


def mount_studio(app: FastAPI, service: Service, *, study: Path | None = None) -> None:
    """Add the page, before the application is served.

    `study`: a page of `stillmotion study build`, shown under /study.  Raises InputError if it
    cannot be read.
    """
    if study is not None and not study.is_file():
        raise InputError(f"There is no study '{study}'; make one with `stillmotion study build`.")
    _keep_uploads_apart(service)
    app.include_router(router_of(study))
    app.add_api_route("/", lambda: RedirectResponse(f"{PATH}/"), include_in_schema=False)
    limits = service.limits
    gr.mount_gradio_app(
        app,
        build_page(service),
        path=PATH,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max(limits.max_picture_bytes, limits.max_clip_bytes),
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=studio_theme(),
    )
    mounted = app.routes[-1]
    mounted.app = Shell(mounted.app, TITLE)  # type: ignore[attr-defined]
    if service.book is not None:
        _let_browsers_in(app, service)


def _keep_uploads_apart(service: Service) -> None:
    """What is dropped in lies, until it was looked at, in the library's own folder.

    Gradio's default is one folder for all users of the machine.
    """
    folder = service.library.incoming().parent.parent / "studio"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)


def _let_browsers_in(app: FastAPI, service: Service) -> None:
    """Put the doorman just before the check of tokens, inside all other guards."""
    assert service.book is not None
    guards: list[object] = [guard.cls for guard in app.user_middleware]
    place = guards.index(TokenCheck)
    app.user_middleware.insert(place, Middleware(Doorman, book=service.book, mounted=MOUNTED))
