"""`stillmotion draw`: text to stills."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.ingredient_options import (
    Checkpoint,
    ClipSkip,
    Embedding,
    IpAdapter,
    IpImage,
    Lora,
    Motion,
    MotionLora,
    Scheduler,
    Vae,
    ingredients_from_options,
)
from stillmotion.apps.options import (
    SAMPLING,
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

app = typer.Typer()


@app.command()
def draw(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the still shows.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME.png",
            help="Where to; several stills become NAME-1.png, NAME-2.png and so on.",
        ),
    ],
    count: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="How many stills, each with the next seed."),
    ] = 1,
    seed: Seed = None,
    look: Look = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    height: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Height of the still.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=1,
            help="Width of the still.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    vae: Vae = None,
    motion: Motion = None,
    lora: Lora = None,
    motion_lora: MotionLora = None,
    embedding: Embedding = None,
    ip_adapter: IpAdapter = None,
    ip_image: IpImage = None,
    scheduler: Scheduler = None,
    clip_skip: ClipSkip = None,
    model: Model = "miniature",
    device: Device = "auto",
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw stills from a text.

    Beside each NAME.png two files are written: NAME.latents.safetensors, the latents of every
    step, which `stillmotion animate` needs to animate exactly this still; and NAME.png.json, the
    record of how the still was made.
    """
    from stillmotion.apps.console import Notes, show
    from stillmotion.apps.outputs import check_still_output

    check_still_output(output, count, overwrite=force)

    from stillmotion.animatezero.loading import load_model
    from stillmotion.apps import jobs
    from stillmotion.runtime.progress import Progress

    say = Notes()
    ingredients = ingredients_from_options(
        checkpoint=checkpoint, vae=vae, motion=motion, lora=lora, motion_lora=motion_lora,
        embedding=embedding, ip=(ip_adapter, ip_image), sampler=(scheduler, clip_skip),
    )  # fmt: skip
    loaded = load_model(model, ingredients=ingredients, look=look, device=device, download=download)
    sampling = jobs.with_changes(
        loaded.drawing,
        num_inference_steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative,
        height=height,
        width=width,
    )
    request = jobs.DrawRequest(
        prompt=loaded.styled(prompt),
        output=output,
        count=count,
        seed=jobs.chosen_seed(seed),
        sampling=sampling,
        overwrite=force,
    )
    jobs.check_drawing(loaded, request, say)
    with Progress("draw", quiet=quiet) as progress:
        facts = jobs.draw(
            loaded, request, lambda done, total: progress.update(completed=done, total=total)
        )
    lines = [f"{row['path']}  (seed {row['seed']})" for row in facts["stills"]]
    show("\n".join(lines), facts | {"notes": say.said}, as_json=as_json)
