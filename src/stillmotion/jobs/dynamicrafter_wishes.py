"""What a job asks of a DynamiCrafter model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.model import Clips, InterpolateJob, LoopJob
from stillmotion.jobs.sources import Found

_AS_THEY_ARE = ("frame_stride", "conditioning_fps", "guidance_rescale", "eta", "start_timestep")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also in the dictionary) is what was left open."""

    picture: Found | None
    prompt: str | None
    source: Path | None
    last_frame: Found | None
    is_loop: bool
    seamless: bool
    seed: int | None
    count: int
    num_frames: int | None
    settings: dict[str, Any]
    """Fields of DynamiCrafterSettings."""
    fps: float | None
    scale: int | None
    output: Path
    overwrite: bool
    model: str | None
    device: str
    download: bool
    memory: str
    speed: str | None
    on_preview: Callable[[bytes], None] | None


def wish_of(job: Clips, output: Output, context: Context) -> Wish:
    """From a job.  Raises InputError for a picture or clip that is not there."""
    shared = ("prompt", "seed", "count", "fps", "scale", "model", "memory", "speed")
    last = context.find(job.last_frame) if isinstance(job, InterpolateJob) else None
    scales = {int(k) if k.isdecimal() else k: factor for k, factor in job.gate_scale.items()}
    return Wish(
        **{name: getattr(job, name) for name in shared},
        picture=context.find(job.still) if job.still is not None else None,
        source=context.find(job.from_clip).path if job.from_clip is not None else None,
        last_frame=last,
        is_loop=isinstance(job, LoopJob),
        seamless=isinstance(job, LoopJob) and job.seamless,
        num_frames=job.frames,
        output=output.path,
        overwrite=output.overwrite,
        on_preview=context.on_preview,
        device=context.device,
        download=context.download,
        settings={
            "num_inference_steps": job.steps,
            "guidance_scale": job.guidance,
            "negative_prompt": job.negative,
            "image_guidance_scale": job.image_guidance,
            "exact_first_frame": job.exact_first_frame or None,
            "gate_scales": scales or None,
            **{name: getattr(job, name) for name in _AS_THEY_ARE},
        },
    )
