"""`stillmotion bench counts`: what the full-size networks cost, counted without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import Force, Json, Quiet

app = typer.Typer(help="Count what the networks cost.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group, even with one command."""


@app.command()
def counts(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="animatezero, dynamicrafter-256, dynamicrafter-512 or dynamicrafter-1024; give "
            "it once for each.",
            show_default="all",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME.md",
            help="Also write the tables to this file, and all counts to NAME.json beside it.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count FLOPs, bytes, memory and operations of one call of each full-size network.

    The product's own code runs on shapes without contents: no weights, no GPU, the same numbers
    on every machine, in a minute or less.
    """
    from stillmotion.apps.console import show
    from stillmotion.apps.outputs import check_file_output
    from stillmotion.errors import OutputError

    if output is not None:
        if output.suffix.lower() != ".md":
            raise OutputError(f"'{output}' cannot hold the tables; use the ending .md.")
        for path in (output, output.with_suffix(".json")):
            check_file_output(path, overwrite=force)

    from stillmotion.apps.evaluate_common import write_table
    from stillmotion.benchmarks import tables
    from stillmotion.benchmarks.call import count_calls
    from stillmotion.benchmarks.full_size import calls
    from stillmotion.runtime.files import write_json
    from stillmotion.runtime.progress import Progress

    wanted = calls(models or [])
    with Progress("bench counts", total=len(wanted), quiet=quiet) as progress:
        found = count_calls(wanted, progress.advance)
    text, facts = tables.page(found), tables.as_facts(found)
    write_table(text, output, force)
    if output is not None:
        write_json(output.with_suffix(".json"), facts)
    show(text, facts, as_json=as_json)
