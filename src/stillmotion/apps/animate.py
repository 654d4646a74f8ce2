"""`stillmotion animate`: a still to a clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillmotion.apps.options import (
    Device,
    Download,
    Force,
    Guidance,
    Json,
    Look,
    Negative,
    Quiet,
    Seed,
    Steps,
)

if TYPE_CHECKING:
    from stillmotion.animatezero.settings import AnimateZeroSettings
    from stillmotion.apps.jobs import AnimateRequest, ClipOptions

_METHOD = "The method (every part can be switched)"


def animate(
    output: Annotated[
        Path,
        typer.Option("--output", "-o",
            help="The ending chooses the format: .mp4 .webm .gif .webp .safetensors; a name "
                 "without ending is a folder of PNG frames."),
    ],
    still: Annotated[
        Path | None, typer.Argument(help="A still from 'stillmotion draw', or any PNG, JPEG, WebP.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Argument(help="What happens; the still's own prompt by default.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Make this clip again, from the record that it carries."),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Number of frames.", show_default="16")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second.", show_default="8")] = None,
    scale: Annotated[
        int | None, typer.Option(help="Enlarge each pixel to SCALE x SCALE.", show_default="1")
    ] = None,
    seed: Seed = None,
    model: Annotated[
        str | None, typer.Option(help="As for draw; the one that drew the still by default.")
    ] = None,
    look: Look = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    row: Annotated[
        str | None,
        typer.Option("--ablation", help="A row of the paper's Fig. 6, a (AnimateDiff) to e (all).",
                     rich_help_panel=_METHOD),
    ] = None,
    kv_source: Annotated[
        str | None,
        typer.Option(help="Shared keys and values from the 'video' pass or the 'still' pass.",
                     rich_help_panel=_METHOD),
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="off, uncorrected or corrected.", rich_help_panel=_METHOD)
    ] = None,
    window_blocks: Annotated[
        str | None,
        typer.Option(help="Where: down, mid, up, joined by commas.", rich_help_panel=_METHOD),
    ] = None,
    query_position: Annotated[
        str | None, typer.Option(help="last or own.", rich_help_panel=_METHOD)
    ] = None,
    force: Force = False,
    device: Device = "auto",
    download: Download = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a still; the first frame of the clip is the still, exactly.

    A picture that was not drawn here is animated as a photograph.  Every clip carries a record of
    how it was made, in the file and in NAME.json beside it; `--from CLIP` makes it again.
    """
    from stillmotion.apps import jobs
    from stillmotion.apps.console import hush_libraries, note, show
    from stillmotion.apps.recall import Wish, prepare
    from stillmotion.media.clips import check_clip_path
    from stillmotion.runtime.progress import Progress

    hush_libraries()
    check_clip_path(output)
    jobs.check_writable_clip(output, overwrite=force)
    wish = Wish(
        still=still, prompt=prompt, source=source, seed=seed, model=model, look=look,
        num_frames=frames,
        sampling={"num_inference_steps": steps, "guidance_scale": guidance,
                  "negative_prompt": negative},
        control={"row": row, "kv_source": kv_source, "window": window,
                 "window_blocks": tuple(window_blocks.split(",")) if window_blocks else None,
                 "query_position": query_position},
        clip={"fps": fps, "scale": scale}, output=output, overwrite=force,
        device=device, download=download,
    )  # fmt: skip
    with Progress("animate", quiet=quiet) as progress:

        def tick(done: int, total: int) -> None:
            progress.update(completed=done, total=total)

        loaded, request = prepare(wish, tick)
        facts = jobs.animate(loaded, request, tick, note)
    exact = "its first frame is the still" if facts["first_frame_is_the_still"] else (
        "its first frame is not the still, since latents are not inserted")
    show(f"{facts['path']}  ({facts['num_frames']} frames, seed {facts['seed']}; {exact})",
         facts, as_json=as_json)  # fmt: skip
