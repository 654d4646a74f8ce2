"""`stillmotion evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import Device, Force, Json, Quiet

if TYPE_CHECKING:
    from stillmotion.animatezero.loading import LoadedModel
    from stillmotion.evaluation.run import Plan

app = typer.Typer(help="Measure models and methods.", no_args_is_help=True)

_Model = Annotated[str, typer.Option(help="'miniature' or a folder written by train --package.")]
_Folder = Annotated[
    Path, typer.Option(help="Where finished samples are kept; a rerun makes only what is missing.")
]
_Processes = Annotated[
    int | None, typer.Option(help="Worker processes; one per CPU core by default.")
]


@app.command()
def miniature(
    samples: Annotated[int, typer.Option(help="Stills and clips of each kind.")] = 200,
    model: _Model = "miniature",
    write_card: Annotated[
        bool, typer.Option("--write-card", help="Write the card into the model's folder.")
    ] = False,
    folder: _Folder = Path("runs/evaluation"),
    processes: _Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the miniature: every part, and what comes out, against the bars it should reach."""
    from dataclasses import asdict

    from stillmotion.apps.console import hush_libraries, show

    hush_libraries()
    from stillmotion.evaluation import card
    from stillmotion.runtime.progress import Progress

    loaded, plan = _plan(model, folder, processes, device)
    path = loaded.folder.path
    with Progress("evaluate miniature", total=3 * samples, quiet=quiet) as progress:
        lines = card.measure_card(plan, path, samples, progress.advance)
    if write_card:
        card.write_card(lines, path, f"stillmotion evaluate miniature --samples {samples}")
    show(card.table(lines), {"lines": [asdict(line) for line in lines]}, as_json=as_json)


@app.command()
def ablation(
    prompts: Annotated[int, typer.Option(help="Prompts, over all looks by turns.")] = 25,
    model: _Model = "miniature",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the table to this .md file.")
    ] = None,
    folder: _Folder = Path("runs/evaluation"),
    processes: _Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the rows of AnimateZero's Fig. 6: from plain AnimateDiff to the whole method."""
    from stillmotion.apps.console import hush_libraries, show

    hush_libraries()
    from stillmotion.evaluation.ablation import summarise, table
    from stillmotion.evaluation.run import measure
    from stillmotion.runtime.files import atomic_path
    from stillmotion.runtime.progress import Progress

    _, plan = _plan(model, folder, processes, device)
    with Progress("evaluate ablation", total=prompts, quiet=quiet) as progress:
        summary = summarise(measure(plan, "ablation", prompts, progress.advance))
    text = table(summary)
    if output is not None:
        with atomic_path(output, overwrite=force) as temporary:
            temporary.write_text(text + "\n")
    show(text, {"rows": summary}, as_json=as_json)


def _plan(
    model: str, folder: Path, processes: int | None, device: str
) -> tuple[LoadedModel, Plan]:
    """The model, and a plan whose folder is named after the model's weights."""
    from stillmotion.animatezero.loading import load_model
    from stillmotion.evaluation.run import Plan

    loaded = load_model(model, device=device)
    place = folder / loaded.pipeline.model_fingerprint[:12]
    count = processes or os.cpu_count() or 1
    return loaded, Plan(reference=model, folder=place, device=device, processes=count)
