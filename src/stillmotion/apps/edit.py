"""`stillmotion edit`: a clip drawn anew after a text, frame by frame along its edges or depth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.animate_options import Fps, Memory, Scale
from stillmotion.apps.options import (
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

_CONTROL = "Control"


@app.command()
def edit(
    clip: Annotated[
        Path,
        typer.Argument(
            metavar="CLIP", help="A video, an animation, or a folder of pictures in order."
        ),
    ],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the new clip shows.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME",
            help="Where to; the ending chooses the format as for `stillmotion animate`.  A .png "
            "asks for first frames alone.",
        ),
    ],
    count: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="With a .png: how many first frames to draw, each with the next seed.",
        ),
    ] = 1,
    still: Annotated[
        Path | None,
        typer.Option(
            "--still",
            metavar="STILL",
            help="The first frame that you chose, drawn before by this command.",
            show_default="one is drawn",
        ),
    ] = None,
    control: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="What is kept of the clip: edges, depth, or given if the clip is a map already.",
            rich_help_panel=_CONTROL,
        ),
    ] = "edges",
    controlnet: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The ControlNet for it: a folder, a .safetensors file, or a hub id user/name.",
            show_default="the one that comes with the model, for edges",
            rich_help_panel=_CONTROL,
        ),
    ] = None,
    depth_model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A depth-estimation model of transformers, for --control depth.",
            show_default=False,
            rich_help_panel=_CONTROL,
        ),
    ] = None,
    control_scale: Annotated[
        float,
        typer.Option(
            metavar="X", min=0, help="How strictly it is followed.", rich_help_panel=_CONTROL
        ),
    ] = 1.0,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="How many frames are taken.", show_default="all, at most 64"
        ),
    ] = None,
    start: Annotated[
        int, typer.Option(metavar="N", min=0, help="The first frame taken, from 0.")
    ] = 0,
    stride: Annotated[
        int, typer.Option(metavar="N", min=1, help="Take every Nth frame of the clip.")
    ] = 1,
    fps: Fps = None,
    scale: Scale = None,
    seed: Seed = None,
    look: Look = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    speed: Speed = None,
    motion_off: Annotated[
        bool,
        typer.Option(
            "--animatediff",
            metavar="",
            help="With AnimateDiff in place of AnimateZero, to compare (the paper's Fig. C.1).",
        ),
    ] = False,
    model: Model = "miniature",
    device: Device = "auto",
    compiling: Compile = "off",
    memory: Memory = "auto",
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a clip anew after a text: its edges or depth stay, all else may change.

    Two steps, if you like to choose: `stillmotion edit CLIP PROMPT --count 4 -o first.png` draws
    first frames alone; `stillmotion edit CLIP PROMPT --still first-2.png -o new.mp4` makes the
    clip that begins with exactly that one.
    """
    said = dict(locals())

    from stillmotion.errors import InputError

    for path in (clip, still):
        if path is not None and not path.exists():
            raise InputError(f"there is no '{path}'; check the name.")

    from stillmotion.jobs.context import Output
    from stillmotion.jobs.formats import clip_format

    job = job_of(
        {
            "kind": "edit",
            **{name: said[name] for name in _FIELDS},
            "format": "png" if output.suffix.lower() == ".png" else clip_format(output),
            "depth_model": None if depth_model is None else str(depth_model),
            "animatediff": motion_off,
        }
    )
    terminal = Terminal("edit", device, download, as_json, quiet, compiling)
    make(job, Output(path=output, overwrite=force), terminal, _told)


_FIELDS = (
    "clip", "prompt", "count", "still", "control", "controlnet", "control_scale", "frames",
    "start", "stride", "fps", "scale", "seed", "look", "steps", "guidance", "negative", "speed",
    "model", "memory",
)  # fmt: skip


def _told(facts: dict[str, Any]) -> str:
    if "stills" in facts:
        return "\n".join(f"{row['path']}  (seed {row['seed']})" for row in facts["stills"])
    return f"{facts['path']}  ({facts['num_frames']} frames, seed {facts['seed']})"
