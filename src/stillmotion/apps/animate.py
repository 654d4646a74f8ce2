"""`stillmotion animate`: a still to a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.animate_options import (
    ClipOutput,
    Count,
    DriftCorrection,
    EvenPace,
    FirstFrame,
    FitOption,
    Fps,
    Frames,
    LastFrame,
    Loop,
    Memory,
    MotionStrength,
    Photograph,
    Preview,
    PromptAt,
    Scale,
    Seamless,
    TimeTravel,
    TimeTravelWindow,
    Towards,
    Trajectory,
    WindowLength,
)
from stillmotion.apps.dynamicrafter_options import (
    ConditioningFps,
    Eta,
    ExactFirstFrame,
    FrameStride,
    GateScale,
    GuidanceRescale,
    ImageGuidance,
    Method,
    StartTimestep,
)
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
from stillmotion.apps.method_options import (
    Ablation,
    FrameNorm,
    InsertLatents,
    KvSource,
    QueryPosition,
    ShareKv,
    Window,
    WindowBlocks,
)
from stillmotion.apps.options import (
    MACHINE,
    Compile,
    Device,
    Download,
    Force,
    Guidance,
    Json,
    Look,
    Negative,
    Quiet,
    Seed,
    Speed,
    Steps,
)
from stillmotion.apps.running import Terminal, make

app = typer.Typer()


@app.command()
def animate(
    output: ClipOutput,
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
    method: Method = None,
    count: Count = 1,
    frames: Frames = None,
    fps: Fps = None,
    scale: Scale = None,
    seed: Seed = None,
    look: Look = None,
    preview: Preview = None,
    last_frame: LastFrame = None,
    loop: Loop = False,
    seamless: Seamless = False,
    even_pace: EvenPace = None,
    towards: Towards = None,
    prompt_at: PromptAt = None,
    motion_strength: MotionStrength = None,
    drift_correction: DriftCorrection = None,
    time_travel: TimeTravel = None,
    time_travel_window: TimeTravelWindow = None,
    photograph: Photograph = False,
    trajectory: Trajectory = None,
    first_frame: FirstFrame = None,
    fit: FitOption = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    speed: Speed = None,
    row: Ablation = None,
    insert_latents: InsertLatents = None,
    share_kv: ShareKv = None,
    kv_source: KvSource = None,
    window: Window = None,
    window_blocks: WindowBlocks = None,
    query_position: QueryPosition = None,
    frame_norm: FrameNorm = None,
    window_length: WindowLength = None,
    frame_stride: FrameStride = None,
    conditioning_fps: ConditioningFps = None,
    image_guidance: ImageGuidance = None,
    guidance_rescale: GuidanceRescale = None,
    eta: Eta = None,
    start_timestep: StartTimestep = None,
    exact_first_frame: ExactFirstFrame = False,
    gate_scale: GateScale = None,
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
    compiling: Compile = "off",
    memory: Memory = "auto",
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a still; the first frame of the clip is the still, exactly.

    With a model for DynamiCrafter any picture is animated by that method, trained for it.

    A still that was drawn here is animated by means of the latents of its drawing, by the model
    and in the look that drew it.  Any other picture, of any size, is animated as a photograph.

    Every clip carries the record of how it was made, in the file and in NAME.json beside it;
    `stillmotion animate --from CLIP -o NAME` makes it again.
    """
    said = dict(locals())
    _check_inputs(still, source, last_frame, is_loop=loop or seamless)

    from stillmotion.jobs.outputs import check_clip_outputs

    check_clip_outputs(output, count, overwrite=force)
    if preview is not None:
        from stillmotion.jobs.previews import check_preview_path  # heavy

        check_preview_path(preview, overwrite=force)

    from stillmotion.apps.clip_jobs import job_from_options
    from stillmotion.jobs.context import Output

    make(
        job_from_options(said),
        Output(path=output, overwrite=force, preview=preview),
        Terminal("animate", device, download, as_json, quiet, compiling),
        _told,
    )


def _check_inputs(
    still: Path | None, source: Path | None, last_frame: Path | None, *, is_loop: bool
) -> None:
    """Raises InputError for files that are not there, before anything large is loaded."""
    from stillmotion.errors import InputError

    if last_frame is not None and is_loop:
        raise InputError(
            "--last-frame ends the clip otherwise than --loop and --seamless; give one of them."
        )
    if still is None and source is None:
        raise InputError("there is nothing to animate: give a still, or a clip with --from CLIP.")
    for path in (still, source, last_frame):
        if path is not None and not path.exists():
            raise InputError(f"there is no '{path}'; check the name.")


def _told(facts: dict[str, Any]) -> str:
    """What was made, a line for each clip."""
    if facts["method"] == "dynamicrafter":
        from stillmotion.jobs import dynamicrafter

        return dynamicrafter.told(facts)
    num_frames, lines = facts["num_frames"], []
    length = "1 frame" if num_frames == 1 else f"{num_frames} frames"
    for clip in facts["clips"]:
        exact = "is the still" if clip["first_frame_is_the_still"] else "is not the still"
        if facts["photograph"] and facts["first_frame"] == "reconstruction":
            exact = "is the picture as the VAE gives it back"
        end = ""
        if "last_frame_is_the_still" in clip:
            end = f", the last one {'is' if clip['last_frame_is_the_still'] else 'is not'} as given"
        lines.append(
            f"{clip['path']}  ({length}, seed {clip['seed']}; the first frame {exact}{end})"
        )
    return "\n".join(lines)
