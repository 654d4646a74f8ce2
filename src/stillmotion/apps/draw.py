"""`stillmotion draw`: text to stills."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
)
from stillmotion.apps.options import (
    SAMPLING,
    Compile,
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
    Speed,
    Steps,
)
from stillmotion.apps.running import Terminal, job_of, make

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
    speed: Speed = None,
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
    compiling: Compile = "off",
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
    said = dict(locals())

    from stillmotion.jobs.outputs import check_still_output

    check_still_output(output, count, overwrite=force)

    from stillmotion.apps.clip_jobs import files_of
    from stillmotion.jobs.context import Output

    job = job_of({"kind": "draw", **{name: said[name] for name in _FIELDS}, **files_of(said)})
    terminal = Terminal("draw", device, download, as_json, quiet, compiling)
    make(job, Output(path=output, overwrite=force), terminal, _told)


_FIELDS = (
    "prompt", "count", "seed", "look", "steps", "guidance", "negative", "speed", "height", "width",
    "motion", "ip_adapter", "ip_image", "scheduler", "clip_skip", "model",
)  # fmt: skip


def _told(facts: dict[str, Any]) -> str:
    return "\n".join(f"{row['path']}  (seed {row['seed']})" for row in facts["stills"])
