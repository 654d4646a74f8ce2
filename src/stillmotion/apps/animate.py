"""`stillmotion animate`: a still to a clip."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillmotion.apps.animate_options import (
    METHOD,
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
    ingredients_from_options,
)
from stillmotion.apps.options import (
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

if TYPE_CHECKING:
    from stillmotion.apps.wishes import Wish

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
    row: Annotated[
        str | None,
        typer.Option(
            "--ablation",
            metavar="ROW",
            help="A row of the paper's Fig. 6, a (plain AnimateDiff) to e (all parts).",
            show_default=False,
            rich_help_panel=METHOD,
        ),
    ] = None,
    insert_latents: Annotated[
        str | None,
        typer.Option(
            metavar=SWITCH,
            help="Frame 1 follows the still's latents.",
            show_default="on",
            rich_help_panel=METHOD,
        ),
    ] = None,
    share_kv: Annotated[
        str | None,
        typer.Option(
            metavar=SWITCH,
            help="All frames take keys and values from frame 1.",
            show_default="on",
            rich_help_panel=METHOD,
        ),
    ] = None,
    kv_source: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Those of frame 1 in the video's own pass (video), or in the still's, run beside "
            "it (still).",
            show_default="video",
            rich_help_panel=METHOD,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Frames attend to earlier frames only: off, uncorrected, or with corrected "
            "positions (corrected).",
            show_default="corrected",
            rich_help_panel=METHOD,
        ),
    ] = None,
    window_blocks: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Where in the U-Net the window applies: down, mid, up, joined by commas.",
            show_default="down",
            rich_help_panel=METHOD,
        ),
    ] = None,
    query_position: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Position of a frame's query in the corrected window: last or own.",
            show_default="last",
            rich_help_panel=METHOD,
        ),
    ] = None,
    frame_norm: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Normalisation in motion modules: as AnimateDiff (per_frame) or as diffusers "
            "(across_frames).",
            show_default="per_frame",
            rich_help_panel=METHOD,
        ),
    ] = None,
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

    from stillmotion.apps.methods import DYNAMICRAFTER, chosen_method
    from stillmotion.apps.outputs import check_clip_outputs
    from stillmotion.apps.previews import check_preview_path

    check_clip_outputs(output, count, overwrite=force)
    check_preview_path(preview, overwrite=force)
    if chosen_method(method, model, source) == DYNAMICRAFTER:
        _animate_by_dynamicrafter(said)
    else:
        _animate_by_animatezero(said)


def _animate_by_animatezero(said: dict[str, Any]) -> None:
    """`said`: the options of `animate` by the names of its parameters."""
    from stillmotion.apps import jobs
    from stillmotion.apps.console import Notes, show
    from stillmotion.apps.methods import ANIMATEZERO, DYNAMICRAFTERS_OWN, refuse_options
    from stillmotion.apps.recall import prepare
    from stillmotion.runtime.progress import Progress

    refuse_options(ANIMATEZERO, {name: said[name] for name in DYNAMICRAFTERS_OWN})
    say = Notes()
    loaded, request = prepare(wish_of(said), say)
    jobs.check_animation(loaded, request, say)
    with Progress("animate", quiet=said["quiet"]) as progress:
        facts = jobs.animate(
            loaded, request, lambda done, total: progress.update(completed=done, total=total)
        )
    show(_told(facts), facts | {"notes": say.said}, as_json=said["as_json"])


_AS_THEY_ARE = (
    "still", "last_frame", "loop", "seamless", "prompt", "towards", "source", "photograph", "seed",
    "count", "model", "look", "row", "fps", "scale", "output", "device", "download", "memory",
    "preview", "quiet",
)  # fmt: skip
_CONTROLS = (
    "kv_source", "window", "query_position", "frame_norm", "window_length", "motion_strength",
)  # fmt: skip
_SWITCHES = {
    "insert_latents": "insert_latents", "share_keys_values": "share_kv", "even_pace": "even_pace",
    "drift_correction": "drift_correction",
}  # fmt: skip
"""Settings that are on or off, and the options that say so."""
_FILES = ("checkpoint", "vae", "motion", "lora", "motion_lora", "embedding")


def said_nothing() -> dict[str, Any]:
    """The options of `animate` by the names of its parameters, as if only `output` was given."""
    return {name: option.default for name, option in signature(animate).parameters.items()}


def wish_of(said: dict[str, Any]) -> Wish:
    """For AnimateZero, from the options of `animate` by the names of its parameters."""
    from stillmotion.apps.wishes import Wish

    blocks = said["window_blocks"]
    switches = {
        setting: on_or_off(option.replace("_", "-"), said[option])
        for setting, option in _SWITCHES.items()
    }
    return Wish(
        **{name: said[name] for name in _AS_THEY_ARE},
        prompt_at=tuple(said["prompt_at"] or ()),
        photographs={name: said[name] for name in ("trajectory", "first_frame", "fit")},
        ingredients=ingredients_from_options(
            **{name: said[name] for name in _FILES},
            ip=(said["ip_adapter"], said["ip_image"]),
            sampler=(said["scheduler"], said["clip_skip"]),
        ),
        num_frames=said["frames"],
        sampling={
            "num_inference_steps": said["steps"],
            "guidance_scale": said["guidance"],
            "negative_prompt": said["negative"],
            "clip_skip": said["clip_skip"],
        },
        control={
            **switches,
            **{name: said[name] for name in _CONTROLS},
            "window_blocks": tuple(blocks.split(",")) if blocks else None,
        },
        time_travel={"repeats": said["time_travel"], "window": said["time_travel_window"]},
        overwrite=said["force"],
    )


def _animate_by_dynamicrafter(said: dict[str, Any]) -> None:
    """`said`: the options of `animate` by name."""
    from stillmotion.apps import dynamicrafter_jobs, dynamicrafter_wishes
    from stillmotion.apps.console import Notes, show
    from stillmotion.apps.methods import DYNAMICRAFTER, DYNAMICRAFTERS_OWN, SHARED, refuse_options
    from stillmotion.runtime.progress import Progress

    known = {*SHARED, *DYNAMICRAFTERS_OWN}
    refuse_options(DYNAMICRAFTER, {n: value for n, value in said.items() if n not in known})
    say = Notes()
    job = dynamicrafter_jobs.prepare(dynamicrafter_wishes.wish_of(said), say)
    with Progress("animate", quiet=said["quiet"]) as progress:
        facts = job.run(lambda done, total: progress.update(completed=done, total=total))
    show(dynamicrafter_jobs.told(facts), facts | {"notes": say.said}, as_json=said["as_json"])


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
