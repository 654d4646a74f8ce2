"""`stillmotion draw`: text to stills."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import (
    Device,
    Download,
    Force,
    Guidance,
    Json,
    Look,
    Model,
    Negative,
    Quiet,
    Seed,
    Steps,
)


def draw(
    prompt: Annotated[str, typer.Argument(help="What the still shows.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A .png; several stills become NAME-1.png, NAME-2.png, ..."),
    ],
    count: Annotated[int, typer.Option(help="How many stills to draw, with seeds one apart.")] = 1,
    seed: Seed = None,
    look: Look = None,
    model: Model = "miniature",
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    height: Annotated[int | None, typer.Option(help="In pixels; the model's own by default.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels; the model's own by default.")] = None,
    force: Force = False,
    device: Device = "auto",
    download: Download = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw stills from a text.

    Each still is a PNG with, beside it, NAME.latents.safetensors: the latents of every step, which
    `stillmotion animate` needs to animate exactly this still.
    """
    from stillmotion.apps import jobs
    from stillmotion.apps.console import hush_libraries, note, show
    from stillmotion.runtime.progress import Progress

    hush_libraries()
    from stillmotion.animatezero.loading import load_model

    for path in jobs.still_paths(output, count):
        jobs.check_writable_still(path, overwrite=force)
    loaded = load_model(model, look=look, device=device, download=download)
    sampling = jobs.with_changes(
        loaded.sampling, num_inference_steps=steps, guidance_scale=guidance,
        negative_prompt=negative, height=height, width=width,
    )  # fmt: skip
    request = jobs.DrawRequest(
        prompt=prompt, output=output, count=count, seed=seed, sampling=sampling, overwrite=force
    )
    with Progress("draw", quiet=quiet) as progress:
        facts = jobs.draw(
            loaded, request, lambda done, total: progress.update(completed=done, total=total), note
        )
    lines = [f"{row['path']}  (seed {row['seed']})" for row in facts["stills"]]
    show("\n".join(lines), facts, as_json=as_json)
