"""A shot as `stillmotion draw` and `stillmotion animate` make it: the same requests, no others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stillmotion.animatezero.checks import completed, drawing_identity, size_of
from stillmotion.animatezero.ingredients import NOTHING
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.dynamicrafter.loading import load_dynamicrafter
from stillmotion.jobs import animating, drawing, dynamicrafter, dynamicrafter_wishes, recall
from stillmotion.jobs.common import chosen_speed, with_changes
from stillmotion.jobs.context import Context, Output, Progress, Say
from stillmotion.jobs.gates import gate_scales
from stillmotion.jobs.methods import ANIMATEZERO
from stillmotion.jobs.model import AnimateJob, Clips, InterpolateJob, parse_job
from stillmotion.jobs.pictures import model_size
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.jobs.sources import FileSource, Found
from stillmotion.jobs.story_cast import Scene
from stillmotion.jobs.story_script import Options
from stillmotion.jobs.wishes import Wish, wish_of
from stillmotion.media.fit import Size
from stillmotion.media.provenance import Provenance
from stillmotion.media.still import Still
from stillmotion.models.registry import MINIATURE


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What all shots are made with."""

    device: str = "auto"
    memory: str = "auto"
    download: bool = False
    models: SharedModels = field(default_factory=SharedModels)


@dataclass(frozen=True)
class StillMaking:
    """The still of a shot."""

    model: LoadedModel
    request: drawing.DrawRequest

    def check(self, say: Say) -> None:
        """Raises InputError for what cannot be drawn; says what is worth knowing."""
        drawing.check_drawing(self.model, self.request, say)

    def make(self, progress: Progress) -> None:
        """Draw it and write it."""
        drawing.draw(self.model, self.request, progress)

    def stand_in(self) -> Still:
        """The still as it will be, but black: all that can be checked before it is drawn."""
        pipe, request = self.model.drawing_pipeline, self.request
        sampling = completed(request.sampling, pipe, None)
        scheduler = copy.deepcopy(pipe.scheduler)
        scheduler.set_timesteps(sampling.num_inference_steps)
        identity = drawing_identity(pipe, scheduler)
        height, width = size_of(sampling)
        side = pipe.vae_scale_factor
        shape = (pipe.vae.config.latent_channels, height // side, width // side)
        return Still(
            image=np.zeros((height, width, 3), np.uint8),
            latents=torch.zeros(len(identity.timesteps) + 1, *shape),
            timesteps=identity.timesteps,
            prompt=request.prompt,
            seed=request.seed,
            settings=sampling,
            model={"name": identity.model_name, "fingerprint": identity.model_fingerprint},
            scheduler_fingerprint=identity.scheduler_fingerprint,
            speed=request.speed,
        )


@dataclass(frozen=True)
class ClipMaking:
    """The clip of a shot, whose first frame is there."""

    record: Provenance
    num_frames: int
    size: Size
    check: Callable[[Say], None]
    """Raises a StillmotionError for what cannot be made; says what is worth knowing."""
    make: Callable[[Progress], object]
    """Make it and write it."""


def still_making(scene: Scene, output: Path, film_size: Size | None, studio: Studio) -> StillMaking:
    """The drawing that a shot asks for; of a film with a size in the shape that suits it.

    Raises ModelError or InputError for what cannot be loaded or drawn.
    """
    shot, is_own = scene.shot, scene.method == ANIMATEZERO
    assert shot.draw is not None
    model = studio.models.sharing(load_model)(
        _drawing_model(scene), look=shot.look, ingredients=NOTHING, device=studio.device,
        download=studio.download,
    )  # fmt: skip
    height, width = (None, None) if film_size is None else model_size(model, *film_size)
    # A clip that follows the latents of the drawing is made in as many steps; others have numbers
    # of their own.
    shared = is_own and model.still_trajectory == "drawn"
    sampling = with_changes(
        model.drawing,
        num_inference_steps=shot.steps if shared else None,
        guidance_scale=shot.guidance if shared else None,
        negative_prompt=shot.negative if is_own else None,
        height=height,
        width=width,
    )
    request = drawing.DrawRequest(
        prompt=model.styled(shot.draw), output=output, seed=scene.seed, sampling=sampling,
        speed=chosen_speed(shot.speed), overwrite=True,
    )  # fmt: skip
    return StillMaking(model, request)


@dataclass(frozen=True)
class Target:
    """Where a clip goes, and who sees what it seems to become."""

    path: Path
    on_preview: Callable[[bytes], None] | None = None


def clip_making(
    scene: Scene, picture: Found, target: Target, studio: Studio, say: Say
) -> ClipMaking:
    """The clip that a shot asks for, from the file of its first frame.

    Raises ModelError or InputError for what cannot be loaded or does not fit.
    """
    given = {"shot": picture, "end": scene.last_frame}
    context = Context(
        device=studio.device, download=studio.download, on_preview=target.on_preview, say=say,
        find=lambda source: _given(given, source),
    )  # fmt: skip
    job, output = _job(scene, studio), Output(path=target.path, overwrite=True)
    if scene.method == ANIMATEZERO:
        return _by_animatezero(wish_of(job, output, context), studio, say)
    return _by_dynamicrafter(dynamicrafter_wishes.wish_of(job, output, context), studio, say)


def _by_animatezero(wish: Wish, studio: Studio, say: Say) -> ClipMaking:
    model, request = recall.prepare(wish, say, studio.models.sharing(load_model))
    record = animating.clip_record(model, request, request.seed)

    def make(progress: Progress) -> None:
        animating.animate(model, request, progress)
        if model.pipeline.model_fingerprint != record.model.fingerprint:
            studio.models.forget(model)  # a memory plan rounded its weights, for good

    return ClipMaking(
        record=record,
        num_frames=request.num_frames,
        size=(request.first.still.height, request.first.still.width),
        check=lambda say: animating.check_animation(model, request, say),
        make=make,
    )


def _by_dynamicrafter(wish: dynamicrafter_wishes.Wish, studio: Studio, say: Say) -> ClipMaking:
    # This checks as well.
    job = dynamicrafter.prepare(wish, say, studio.models.sharing(load_dynamicrafter))
    return ClipMaking(
        record=job.record(job.seed),
        num_frames=job.recipe.num_frames,
        size=job.model.pipeline.size_of(job.settings),
        check=lambda say: None,
        make=job.run,
    )


def _given(given: Mapping[str, Found | None], source: FileSource) -> Found:
    """The pictures of a shot have the names "shot" and "end"; where they are is known already."""
    found = given[source.path or ""]
    assert found is not None
    return found


def _job(scene: Scene, studio: Studio) -> Clips:
    """What `animate` is to do for a shot."""
    shot = scene.shot
    is_own = scene.method == ANIMATEZERO
    chosen: dict[str, Any] = {
        "still": FileSource(path="shot"),
        "prompt": shot.prompt,
        "seed": scene.seed,
        "method": scene.method,
        "model": _drawing_model(scene) if shot.draw and is_own else shot.model,
        "look": shot.look if is_own else None,
        "memory": studio.memory,
        "gate_scale": gate_scales(shot.gate_scale),
    }
    alike = Options.model_fields.keys() - chosen.keys() - {"drawing_model", "transition"}
    told = {name: getattr(shot, name) for name in alike}
    said = chosen | {name: value for name, value in told.items() if value is not None}
    if scene.last_frame is None:
        job = parse_job(said | {"kind": "animate"})
    else:
        job = parse_job(said | {"kind": "interpolate", "last_frame": FileSource(path="end")})
    assert isinstance(job, AnimateJob | InterpolateJob)
    return job


def _drawing_model(scene: Scene) -> str:
    own = scene.shot.model if scene.method == ANIMATEZERO else scene.shot.drawing_model
    return own or MINIATURE
