"""What `draw` and `animate` do: from a request to written files with their provenance."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stillmotion.animatezero.checks import check_drawn_alike, check_num_frames, completed
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.requests import seeded
from stillmotion.animatezero.settings import AnimateZeroSettings, SamplingSettings
from stillmotion.animatezero.still import Still, latents_path
from stillmotion.apps.advice import Say, check_picture_size, tell_about_prompt
from stillmotion.apps.outputs import still_paths
from stillmotion.apps.records import (
    ClipRecipe,
    clip_provenance,
    motion_fingerprint,
)
from stillmotion.errors import InputError
from stillmotion.media.clips import check_clip_path, save_clip
from stillmotion.media.images import side_car_path
from stillmotion.media.provenance import Provenance

Progress = Callable[[int, int], None]
Settings = TypeVar("Settings", SamplingSettings, AnimateZeroSettings)
_SEED_RANGE = 2**31


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """Stills to draw; the first has `seed`, the next the number after it, and so on."""

    prompt: str
    output: Path
    count: int = 1
    seed: int
    sampling: SamplingSettings
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class AnimateRequest:
    """A clip to make of a still."""

    still: Still
    still_name: str | None
    prompt: str
    seed: int
    num_frames: int
    sampling: SamplingSettings
    control: AnimateZeroSettings
    output: Path
    fps: float = 8.0
    scale: int = 1
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"fps is {self.fps}; give a number above 0 (usual: 8).")


def with_changes(settings: Settings, **changes: Any) -> Settings:
    """`settings` with the changes that are not `None`."""
    return replace(settings, **{k: v for k, v in changes.items() if v is not None})


def chosen_seed(seed: int | None) -> int:
    """The seed given, or one by chance; either way it is recorded."""
    return secrets.randbelow(_SEED_RANGE) if seed is None else seed


def check_drawing(model: LoadedModel, request: DrawRequest, say: Say) -> None:
    """Raises InputError for what cannot be drawn, before anything is computed."""
    completed(request.sampling, model.pipeline, None)
    seeded(request.seed)
    seeded(request.seed + request.count - 1)
    tell_about_prompt(model, request.prompt, say)


def draw(model: LoadedModel, request: DrawRequest, progress: Progress) -> dict[str, Any]:
    """Draw and write stills; each is on disk as soon as it is finished.

    Returns:
        The facts: model, prompt, seed, and of each still its seed and the paths of its files.
    """
    paths = still_paths(request.output, request.count)
    steps = request.sampling.num_inference_steps
    rows = []
    for index, path in enumerate(paths):
        seed, before = request.seed + index, index * steps

        def tick(done: int, _: int, before: int = before) -> None:
            progress(before + done, steps * len(paths))

        [still] = model.pipeline.draw(
            request.prompt, seeds=[seed], sampling=request.sampling, progress=tick
        )
        still.save(path, overwrite=request.overwrite)
        rows.append(
            {
                "path": str(path),
                "latents": str(latents_path(path)),
                "record": str(side_car_path(path)),
                "seed": seed,
            }
        )
    return {
        "model": model.reference,
        "prompt": request.prompt,
        "seed": request.seed,
        "stills": rows,
    }


def check_animation(model: LoadedModel, request: AnimateRequest, say: Say) -> None:
    """Raises InputError or OutputError for what cannot be made or written, before computing."""
    still, pipeline = request.still, model.pipeline
    if still.latents is None:
        check_picture_size(model, still, request.still_name or "the picture", say)
    check_num_frames(request.num_frames, pipeline.unet)
    sampling = completed(request.sampling, pipeline, still)
    if request.control.needs_trajectory:
        check_drawn_alike([still], pipeline, sampling)
    seeded(request.seed)
    _rehearse(request, clip_record(model, request))
    tell_about_prompt(model, request.prompt, say)
    if still.latents is None and request.control.needs_trajectory:
        say(
            "the picture is animated as a photograph, without latents of its own drawing: by "
            "direct diffusion of its pixels with one fixed noise"
        )


def animate(model: LoadedModel, request: AnimateRequest, progress: Progress) -> dict[str, Any]:
    """Animate a still and write the clip with its provenance.

    Returns:
        The facts: paths, model, prompt, seed, frames, and whether frame 1 is the still exactly.
    """
    made = model.pipeline.animate(
        request.still,
        request.prompt,
        seed=request.seed,
        num_frames=request.num_frames,
        sampling=request.sampling,
        control=request.control,
        progress=progress,
    )
    record = clip_record(model, request)
    is_tensors = request.output.suffix.lower() == ".safetensors"
    save_clip(
        made.frames[0],
        request.output,
        fps=request.fps,
        provenance=record,
        overwrite=request.overwrite,
        latents=made.latents if is_tensors else None,
        scale=request.scale,
    )
    return {
        "path": str(request.output),
        "record": str(side_car_path(request.output)),
        "model": model.reference,
        "method": record.method,
        "prompt": request.prompt,
        "seed": request.seed,
        "num_frames": request.num_frames,
        "fps": request.fps,
        "photograph": request.still.latents is None,
        "first_frame_is_the_still": bool((made.frames[0, 0] == request.still.image).all()),
    }


def clip_record(model: LoadedModel, request: AnimateRequest) -> Provenance:
    """The provenance of the clip that a request asks for."""
    still = request.still
    recipe = ClipRecipe(
        num_frames=request.num_frames,
        sampling=completed(request.sampling, model.pipeline, still),
        control=request.control,
        fps=request.fps,
        scale=request.scale,
        photograph=still.latents is None,
        motion_fingerprint=motion_fingerprint(model),
    )
    return clip_provenance(
        model,
        still,
        recipe,
        prompt=request.prompt,
        seed=request.seed,
        still_name=request.still_name,
    )


def _rehearse(request: AnimateRequest, record: Provenance) -> None:
    """Write one black frame as the clip will be: what the writer refuses, it refuses now."""
    frame = np.zeros((1, *request.still.image.shape), np.uint8)
    with tempfile.TemporaryDirectory(prefix="stillmotion-") as folder:
        path = Path(folder) / f"rehearsal{check_clip_path(request.output).suffix}"
        save_clip(
            frame, path, fps=request.fps, scale=request.scale, provenance=record, side_car=False
        )
