"""`stillmotion train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import Device, Json, Quiet
from stillmotion.apps.train_check import check
from stillmotion.apps.train_dynamicrafter import commands

app = typer.Typer(help="Train models.", no_args_is_help=True)
app.command()(check)
app.add_typer(commands)


@app.command()
def miniature(
    stage: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="all, or one of judge, vae, clip, text-to-image, domains, motion, control, and "
            "of DynamiCrafter video-image, video, context, adapt, joint, finish, interpolation.",
        ),
    ] = "all",
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="cpu (64 x 64 pixels, 7 to 8 hours on 2 cores) or gpu (128 x 128, about one "
            "hour on a large GPU).",
        ),
    ] = "cpu",
    folder: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where checkpoints, logs, data and results are kept."),
    ] = Path("runs/miniature"),
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Time for each of the stages.", show_default="the recipe's"
        ),
    ] = None,
    begin_with: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Take the parts that the run folder lacks from a finished model, so that later "
            "stages can be trained without the earlier ones: miniature, or a folder written by "
            "--package.",
            show_default=False,
        ),
    ] = None,
    package: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Afterwards write the finished model here, for --model FOLDER.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the miniature from nothing, on the procedural world.

    Stop it at any time: the same command goes on from the last checkpoint, at most 30 seconds back.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.miniature.package import package as write_package
    from stillmotion.miniature.train import configured, selected_stages, train_stages
    from stillmotion.miniature.unpack import unpack
    from stillmotion.models.registry import resolve_model

    stages = selected_stages(stage)
    chosen = configured(recipe, stages, budget)
    if begin_with is not None:
        unpack(resolve_model(begin_with).path, folder)
    with resumable():
        train_stages(stages, recipe=chosen, folder=folder, device=device, quiet=quiet)
    if package is not None:
        write_package(chosen, package, folder)
    facts = {
        "stages": list(stages),
        "folder": str(folder),
        "package": str(package) if package is not None else None,
    }
    where = f"{folder}, packaged in {package}" if package is not None else str(folder)
    show(f"trained {', '.join(stages)} in {where}", facts, as_json=as_json)
