"""`stillmotion bench server`: how much the HTTP server bears."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.bench_options import report_option
from stillmotion.apps.options import Force, Json, Quiet


def server(
    jobs: Annotated[int, typer.Option(metavar="N", help="Jobs that wait in the queue.")] = 2000,
    listeners: Annotated[int, typer.Option(metavar="N", help="Event streams open at once.")] = 300,
    connections: Annotated[
        int, typer.Option(metavar="N", help="Connections that call at once.")
    ] = 16,
    seconds: Annotated[float, typer.Option(metavar="S", help="Of each kind of call.")] = 5.0,
    output: Annotated[
        Path | None,
        report_option(
            "Also write the report to this file, and all numbers to NAME.json beside it."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the HTTP server: calls a second, jobs queued by the thousand, listeners.

    A server of its own is started for it on this machine, with a library that is deleted
    afterwards; no job is made.
    """
    from stillmotion.apps.serve import need_server_extra

    need_server_extra("stillmotion bench server")
    from stillmotion.apps.bench_reports import Files
    from stillmotion.apps.console import Notes, show
    from stillmotion.server.load import LoadSettings, measure
    from stillmotion.server.load_page import page

    files = Files(output, overwrite=force)
    settings = LoadSettings(
        seconds=seconds, connections=connections, jobs=jobs, listeners=listeners
    )
    result = measure(settings, (lambda _: None) if quiet else Notes())
    text, facts = page(result), result.as_facts()
    files.write(text.rstrip("\n"), facts, {})
    show(text, facts, as_json=as_json)
