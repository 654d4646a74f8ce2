"""What the user said of a clip, and the settings that come of it with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.animatezero.ingredients import Ingredients, parse_weighted
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, TimeTravel
from stillmotion.errors import InputError
from stillmotion.jobs.common import with_changes
from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.fields import TextAt, WithIngredients
from stillmotion.jobs.model import Clips, InterpolateJob, LoopJob
from stillmotion.jobs.records import ClipRecipe
from stillmotion.jobs.sources import Find, Found


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also inside the dictionaries) is what was left open."""

    still: Found | None
    last_frame: Found | None
    loop: bool
    seamless: bool
    prompt: str | None
    towards: str | None
    prompt_at: tuple[TextAt, ...]
    source: Path | None
    photograph: bool
    photographs: dict[str, Any]
    seed: int | None
    count: int
    model: str | None
    look: str | None
    ingredients: Ingredients
    num_frames: int | None
    sampling: dict[str, Any]
    speed: str | None
    row: str | None
    control: dict[str, Any]
    time_travel: dict[str, Any]
    fps: float | None
    scale: int | None
    output: Path
    overwrite: bool
    device: str
    download: bool
    memory: str
    preview: Path | None
    on_preview: Callable[[bytes], None] | None
    quiet: bool


_AS_THEY_ARE = (
    "photograph", "prompt", "towards", "prompt_at", "seed", "count", "model", "look", "row", "fps",
    "scale", "memory", "speed",
)  # fmt: skip
_CONTROLS = (
    "kv_source", "window", "query_position", "frame_norm", "window_length", "motion_strength",
    "insert_latents", "even_pace", "drift_correction", "window_blocks",
)  # fmt: skip


def wish_of(job: Clips, output: Output, context: Context) -> Wish:
    """For AnimateZero.  Raises InputError for a picture or clip that is not there."""
    last = context.find(job.last_frame) if isinstance(job, InterpolateJob) else None
    return Wish(
        **{name: getattr(job, name) for name in _AS_THEY_ARE},
        still=context.find(job.still) if job.still is not None else None,
        last_frame=last,
        loop=isinstance(job, LoopJob),
        seamless=isinstance(job, LoopJob) and job.seamless,
        source=context.find(job.from_clip).path if job.from_clip is not None else None,
        photographs={name: getattr(job, name) for name in ("trajectory", "first_frame", "fit")},
        ingredients=ingredients_of(job, context.find),
        num_frames=job.frames,
        sampling={
            "num_inference_steps": job.steps,
            "guidance_scale": job.guidance,
            "negative_prompt": job.negative,
            "clip_skip": job.clip_skip,
        },
        control={
            **{name: getattr(job, name) for name in _CONTROLS},
            "share_keys_values": job.share_kv,
        },
        time_travel={"repeats": job.time_travel, "window": job.time_travel_window},
        output=output.path,
        overwrite=output.overwrite,
        preview=output.preview,
        on_preview=context.on_preview,
        device=context.device,
        download=context.download,
        quiet=context.quiet,
    )


def ingredients_of(job: WithIngredients, find: Find) -> Ingredients:
    """The files that are put into the model.

    Raises InputError for a weight, name or number that cannot be used.
    """
    adapter, scale = (None, 1.0) if job.ip_adapter is None else parse_weighted(job.ip_adapter)
    return Ingredients(
        checkpoint=Path(job.checkpoint) if job.checkpoint is not None else None,
        vae=Path(job.vae) if job.vae is not None else None,
        motion=job.motion,
        loras=tuple(parse_weighted(text) for text in job.lora),
        motion_loras=tuple(parse_weighted(text) for text in job.motion_lora),
        embeddings=tuple(Path(name) for name in job.embedding),
        ip_adapter=adapter,
        ip_adapter_image=find(job.ip_image).path if job.ip_image is not None else None,
        ip_adapter_scale=scale,
        scheduler=job.scheduler,
        clip_skip=job.clip_skip,
    )


def text_along(
    styled: Callable[[str], str],
    base: str,
    target: str | None,
    texts_at: Sequence[TextAt],
    num_frames: int,
) -> str | PromptTrack:
    """The text of a clip: `base` throughout, or towards `target`, or with texts at some frames.

    `styled` puts a look's words before each.  Raises InputError if both kinds are asked for, or
    several texts for one frame.
    """
    if target is not None and texts_at:
        raise InputError("--towards and --prompt-at say different things; give one of them.")
    if texts_at:
        track = {0: styled(base)}
        frames = [at.frame for at in texts_at]
        for at in texts_at:
            if frames.count(at.frame) > 1:
                raise InputError(f"--prompt-at gives frame {at.frame} several texts; give it one.")
            track[at.frame] = styled(at.text)
        return PromptTrack(track)
    if target is not None and target != base:
        return PromptTrack.towards(styled(base), styled(target), num_frames)
    return styled(base)


def chosen_control(wish: Wish, kept: ClipRecipe | None) -> AnimateZeroSettings:
    """The row of Fig. 6 if one is named, else the recorded settings; then single changes."""
    if wish.row is None:
        base = kept.control if kept is not None else AnimateZeroSettings()
    elif wish.row in FIG6_ROWS:
        base = FIG6_ROWS[wish.row]
    else:
        raise InputError(f"the row '{wish.row}' is not in Fig. 6; it has: {', '.join(FIG6_ROWS)}")
    if any(value is not None for value in wish.time_travel.values()):
        base = replace(base, time_travel=_time_travel(wish.time_travel, base.time_travel))
    if wish.last_frame is not None and (kept is None or kept.end != "still"):
        base = replace(base, even_pace=True)
    return with_changes(base, **wish.control)


def _time_travel(said: dict[str, Any], recorded: TimeTravel | None) -> TimeTravel | None:
    """None if it was switched off by 0 repeats; InputError for a window of nothing."""
    if said["repeats"] == 0:
        return None
    if said["repeats"] is None and recorded is None:
        raise InputError(
            "--time-travel-window says where to denoise several times, but not how often; add "
            "--time-travel N (the paper: 5)."
        )
    changes = {"repeats": said["repeats"]}
    if said["window"] is not None:
        changes |= dict(zip(("start", "stop"), said["window"], strict=True))
    return with_changes(recorded or TimeTravel(), **changes)


def chosen_photographs(wish: Wish, kept: ClipRecipe | None) -> PhotographSettings:
    """The recorded settings for photographs, or the defaults, with what was said."""
    base = kept.photographs if kept is not None else PhotographSettings()
    return with_changes(base, **wish.photographs)
