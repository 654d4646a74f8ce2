"""`stillmotion animate`: a still to a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.options import (
    FLAG,
    MACHINE,
    SWITCH,
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
    on_or_off,
)

app = typer.Typer()

_METHOD = "The method: each part of AnimateZero can be switched"


@app.command()
def animate(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME",
            help="Where to.  The ending chooses the format: .mp4, .webm, .gif, .webp (exact), "
            ".safetensors (exact, with latents); without ending, a folder of PNG frames (exact).",
        ),
    ],
    still: Annotated[
        Path | None,
        typer.Argument(
            metavar="STILL",
            help="A still from `stillmotion draw`, or any PNG, JPEG or WebP picture.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPT",
            help="What happens in the clip.",
            show_default="the still's own prompt",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="CLIP",
            help="Make this clip again, from the record that it carries; other options change it.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Number of frames.", show_default="the model's own, often 16"
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="X", help="Frames per second.", show_default="8")
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Enlarge each pixel to N x N.", show_default="1"),
    ] = None,
    seed: Seed = None,
    look: Look = None,
    photograph: Annotated[
        bool,
        typer.Option(
            "--photograph",
            metavar=FLAG,
            help="Use the pixels alone, even if the still has latents; any model can do that.",
        ),
    ] = False,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    row: Annotated[
        str | None,
        typer.Option(
            "--ablation",
            metavar="ROW",
            help="A row of the paper's Fig. 6, a (plain AnimateDiff) to e (all parts).",
            show_default=False,
            rich_help_panel=_METHOD,
        ),
    ] = None,
    insert_latents: Annotated[
        str | None,
        typer.Option(
            metavar=SWITCH,
            help="Frame 1 follows the still's latents.",
            show_default="on",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    share_kv: Annotated[
        str | None,
        typer.Option(
            metavar=SWITCH,
            help="All frames take keys and values from frame 1.",
            show_default="on",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    kv_source: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Those of frame 1 in the video's own pass (video), or in the still's, run beside "
            "it (still).",
            show_default="video",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Frames attend to earlier frames only: off, uncorrected, or with corrected "
            "positions (corrected).",
            show_default="corrected",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    window_blocks: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Where in the U-Net the window applies: down, mid, up, joined by commas.",
            show_default="down",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    query_position: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Position of a frame's query in the corrected window: last or own.",
            show_default="last",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    frame_norm: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Normalisation in motion modules: as AnimateDiff (per_frame) or as diffusers "
            "(across_frames).",
            show_default="per_frame",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="As for `stillmotion draw`.",
            show_default="the one that drew the still, else miniature",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Device = "auto",
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a still; the first frame of the clip is the still, exactly.

    A still that was drawn here is animated by means of the latents of its drawing, by the model
    and in the look that drew it.  Any other picture is animated as a photograph.

    Every clip carries the record of how it was made, in the file and in NAME.json beside it;
    `stillmotion animate --from CLIP -o NAME` makes it again.
    """
    from stillmotion.apps.console import Notes, show

    _check_inputs(still, source)

    from stillmotion.apps import jobs
    from stillmotion.apps.outputs import check_clip_output
    from stillmotion.apps.recall import Wish, prepare
    from stillmotion.media.clips import check_clip_path
    from stillmotion.runtime.progress import Progress

    check_clip_output(output, is_folder=check_clip_path(output).is_folder, overwrite=force)
    wish = Wish(
        still=still,
        prompt=prompt,
        source=source,
        photograph=photograph,
        seed=seed,
        model=model,
        look=look,
        num_frames=frames,
        sampling={
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "negative_prompt": negative,
        },
        row=row,
        control={
            "insert_latents": on_or_off("insert-latents", insert_latents),
            "share_keys_values": on_or_off("share-kv", share_kv),
            "kv_source": kv_source,
            "window": window,
            "window_blocks": tuple(window_blocks.split(",")) if window_blocks else None,
            "query_position": query_position,
            "frame_norm": frame_norm,
        },
        fps=fps,
        scale=scale,
        output=output,
        overwrite=force,
        device=device,
        download=download,
        quiet=quiet,
    )
    say = Notes()
    loaded, request = prepare(wish, say)
    jobs.check_animation(loaded, request, say)
    with Progress("animate", quiet=quiet) as progress:
        facts = jobs.animate(
            loaded, request, lambda done, total: progress.update(completed=done, total=total)
        )
    show(_told(facts), facts | {"notes": say.said}, as_json=as_json)


def _check_inputs(still: Path | None, source: Path | None) -> None:
    """Raises InputError for files that are not there, before anything large is loaded."""
    from stillmotion.errors import InputError

    if still is None and source is None:
        raise InputError("there is nothing to animate: give a still, or a clip with --from CLIP.")
    for path in (still, source):
        if path is not None and not path.exists():
            raise InputError(f"there is no '{path}'; check the name.")


def _told(facts: dict[str, Any]) -> str:
    first = (
        "is the still"
        if facts["first_frame_is_the_still"]
        else ("is not the still, since its latents are not inserted")
    )
    return (
        f"{facts['path']}  ({facts['num_frames']} frames, seed {facts['seed']}; the first frame "
        f"{first})"
    )
