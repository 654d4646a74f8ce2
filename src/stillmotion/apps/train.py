"""`stillmotion train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import Device, Json, Quiet

app = typer.Typer(help="Train models.", no_args_is_help=True)


@app.command()
def miniature(
    stage: Annotated[
        str,
        typer.Option(help="all, or one of: judge, vae, clip, text-to-image, domains, motion."),
    ] = "all",
    recipe: Annotated[
        str, typer.Option(help="cpu (64x64 pixels, two hours on 2 cores) or gpu (128x128).")
    ] = "cpu",
    folder: Annotated[
        Path, typer.Option(help="Run folder: checkpoints, logs, data and finished parts.")
    ] = Path("runs/miniature"),
    budget: Annotated[
        float | None, typer.Option(help="Seconds for each of the stages, instead of the recipe's.")
    ] = None,
    package: Annotated[
        Path | None,
        typer.Option(help="Afterwards write the finished parts to this folder, ready for --model."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the miniature from nothing, on the procedural world.

    Stop it at any time: the same command goes on from the last checkpoint, at most 30 seconds back.
    """
    from stillmotion.apps.console import hush_libraries, show

    hush_libraries()
    from stillmotion.miniature.package import package as write_package
    from stillmotion.miniature.train import configured, selected_stages, train_stages

    stages = selected_stages(stage)
    chosen = configured(recipe, stages, budget)
    train_stages(stages, recipe=chosen, folder=folder, device=device, quiet=quiet)
    if package is not None:
        write_package(chosen, package, folder)
    facts = {"stages": list(stages), "folder": str(folder)}
    show(f"trained {', '.join(stages)} in {folder}", facts, as_json=as_json)
