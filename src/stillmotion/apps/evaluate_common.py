"""What the commands of `stillmotion evaluate` have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stillmotion.evaluation.run import Plan

Model = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="miniature, or a folder written by `stillmotion train --package`."
    ),
]
Folder = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER", help="Where finished samples are kept; a rerun makes what is missing."
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Worker processes.", show_default="one for each CPU core"
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="NAME.md",
        help="Also write the table to this file.",
        show_default=False,
    ),
]


def plan_for(model: str, folder: Path, processes: int | None, device: str) -> Plan:
    """The plan for a model, whose rows lie in a folder of their own for each set of weights."""
    from stillmotion.evaluation.run import Plan, model_identity
    from stillmotion.models.registry import resolve_model
    from stillmotion.runtime.system import choose_device

    found = resolve_model(model)
    return Plan(
        reference=model,
        model_folder=found.path,
        folder=folder / model_identity(found.path)[:12],
        device=str(choose_device(device)),
        processes=processes or os.cpu_count() or 1,
    )


def write_table(text: str, output: Path | None, force: bool) -> None:
    """Write a table to the file that is asked for, if one is."""
    from stillmotion.runtime.files import atomic_path

    if output is not None:
        with atomic_path(output, overwrite=force) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
