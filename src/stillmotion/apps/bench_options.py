"""Options that the commands of `stillmotion bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.options import MACHINE

TimedModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="miniature, or full-size: networks of the published sizes with random weights, for "
        "which a GPU is needed.",
        rich_help_panel=MACHINE,
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="How often everything is timed, in turns; medians are of these.",
        show_default="5 on a CPU, 10 on a GPU",
    ),
]
Warmups = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Rounds before them that do not count.",
        show_default="1 on a CPU, 3 on a GPU",
    ),
]


def report_option(what: str) -> Any:
    """`-o NAME.md`, with words on the files that are written."""
    return typer.Option("--output", "-o", metavar="NAME.md", help=what, show_default=False)


Report = Annotated[
    Path | None,
    report_option(
        "Also write the report to this file, all numbers to NAME.json and the plots to "
        "NAME-*.svg beside it."
    ),
]
