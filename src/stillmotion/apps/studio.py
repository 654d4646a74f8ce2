"""`stillmotion studio`: the page, with the server and the workers behind it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import FLAG
from stillmotion.apps.serve import (
    Host,
    HostName,
    Library,
    Port,
    TokenFile,
    Workers,
    WorkersDevice,
    devices,
    library_folder,
    need_server_extra,
    say_address,
)

app = typer.Typer()


@app.command()
def studio(
    host: Host = "127.0.0.1",
    port: Port = 8421,
    library: Library = None,
    workers: Workers = None,
    device: WorkersDevice = "auto",
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A model that the page offers, beside those that come with the package; give it "
            "once for each.",
            show_default=False,
        ),
    ] = None,
    token_file: TokenFile = None,
    host_name: HostName = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDY.html",
            help="Also show this page of `stillmotion study build`, under /study.",
            show_default=False,
        ),
    ] = None,
    open_page: Annotated[
        bool,
        typer.Option(
            "--open/--no-open", metavar=FLAG, help="Open the page, where there is a display."
        ),
    ] = True,
    logs: Annotated[
        bool, typer.Option("--logs", metavar=FLAG, help="Write the server's log to stderr.")
    ] = False,
) -> None:
    """Draw, choose and animate on a page in the browser.

    The first line on stdout is the address. Everything works without a network; what waits or was
    made is in the library, and is there again when the studio is started anew. The HTTP API of
    `stillmotion serve` is served beside the page.
    """
    need_studio_extra()
    from stillmotion.models.registry import MINIATURE
    from stillmotion.queueing.tasks import WorkerSettings
    from stillmotion.server.service import DEFAULT_MODELS
    from stillmotion.server.serving import ServeSettings, serve
    from stillmotion.studio.mount import MOUNTED, PATH, mount_studio

    settings = ServeSettings(
        folder=library_folder(library),
        host=host,
        port=port,
        devices=devices(device, workers),
        allowed_models=frozenset((*DEFAULT_MODELS, *(allow_model or ()))),
        token_file=token_file,
        host_names=frozenset(name.lower() for name in host_name or ()),
        worker=WorkerSettings(warm_up=MINIATURE),
        mounted=MOUNTED,
    )

    def announce(address: str) -> None:
        say_address(f"{address}{PATH}/")
        if open_page:
            _open(f"{address}{PATH}/")

    serve(
        settings,
        announce=announce,
        extend=lambda application, service: mount_studio(application, service, study=study),
        quiet=not logs,
    )


def need_studio_extra() -> None:
    """Raise ModelError if the packages of the extra `studio` are missing."""
    from importlib.util import find_spec

    from stillmotion.errors import ModelError

    need_server_extra("stillmotion studio")
    if find_spec("gradio") is None:
        raise ModelError(
            "stillmotion studio needs gradio; install it with `pip install 'stillmotion[studio]'`."
        )


def _open(address: str) -> None:
    """Show the page in the user's browser, if there is one with a display."""
    has_display = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_display:
        import webbrowser

        webbrowser.open(address)
