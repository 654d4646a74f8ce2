"""A shot as `stillmotion draw` and `stillmotion animate` make it: the same requests, no others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from stillmotion.animatezero.checks import completed, drawing_identity, size_of
from stillmotion.animatezero.ingredients import NOTHING
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.apps import dynamicrafter_jobs, dynamicrafter_wishes, jobs, recall
from stillmotion.apps.advice import Say
from stillmotion.apps.animate import said_nothing, wish_of
from stillmotion.apps.methods import ANIMATEZERO
from stillmotion.apps.pictures import model_size
from stillmotion.apps.story_cast import Scene
from stillmotion.apps.story_script import Options
from stillmotion.dynamicrafter.loading import load_dynamicrafter
from stillmotion.media.fit import Size
from stillmotion.media.provenance import Provenance
from stillmotion.media.still import Still
from stillmotion.models.registry import MINIATURE

_KEPT_MODELS = 2
"""Models in memory at a time: a film often changes between two, one of each method."""
Loaded = TypeVar("Loaded")


class SharedModels:
    """Models that shots have in common are loaded once; of those in memory the oldest goes."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def sharing(self, load: Callable[..., Loaded]) -> Callable[..., Loaded]:
        """`load`, but for what is in memory already."""

        def loading(reference: str, **options: Any) -> Loaded:
            key = repr((load.__name__, reference, sorted(options.items())))
            model = self._kept.pop(key, None)
            if model is None:
                while len(self._kept) >= _KEPT_MODELS:
                    del self._kept[next(iter(self._kept))]
                model = load(reference, **options)
            self._kept[key] = model
            found: Loaded = model
            return found

        return loading

    def forget(self, model: object) -> None:
        """Load it anew when it is needed again."""
        self._kept = {key: kept for key, kept in self._kept.items() if kept is not model}


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
    request: jobs.DrawRequest

    def check(self, say: Say) -> None:
        """Raises InputError for what cannot be drawn; says what is worth knowing."""
        jobs.check_drawing(self.model, self.request, say)

    def make(self, progress: jobs.Progress) -> None:
        """Draw it and write it."""
        jobs.draw(self.model, self.request, progress)

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
        )


@dataclass(frozen=True)
class ClipMaking:
    """The clip of a shot, whose first frame is there."""

    record: Provenance
    num_frames: int
    size: Size
    check: Callable[[Say], None]
    """Raises a StillmotionError for what cannot be made; says what is worth knowing."""
    make: Callable[[jobs.Progress], object]
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
    sampling = jobs.with_changes(
        model.drawing,
        num_inference_steps=shot.steps if shared else None,
        guidance_scale=shot.guidance if shared else None,
        negative_prompt=shot.negative if is_own else None,
        height=height,
        width=width,
    )
    request = jobs.DrawRequest(
        prompt=model.styled(shot.draw), output=output, seed=scene.seed, sampling=sampling,
        overwrite=True,
    )  # fmt: skip
    return StillMaking(model, request)


def clip_making(scene: Scene, picture: Path, output: Path, studio: Studio, say: Say) -> ClipMaking:
    """The clip that a shot asks for, from the file of its first frame.

    Raises ModelError or InputError for what cannot be loaded or does not fit.
    """
    said = said_nothing() | _said(scene, picture, output, studio)
    if scene.method == ANIMATEZERO:
        return _by_animatezero(said, studio, say)
    return _by_dynamicrafter(said, studio, say)


def _by_animatezero(said: dict[str, Any], studio: Studio, say: Say) -> ClipMaking:
    model, request = recall.prepare(wish_of(said), say, studio.models.sharing(load_model))
    record = jobs.clip_record(model, request, request.seed)

    def make(progress: jobs.Progress) -> None:
        jobs.animate(model, request, progress)
        if model.pipeline.model_fingerprint != record.model.fingerprint:
            studio.models.forget(model)  # a memory plan rounded its weights, for good

    return ClipMaking(
        record=record,
        num_frames=request.num_frames,
        size=(request.first.still.height, request.first.still.width),
        check=lambda say: jobs.check_animation(model, request, say),
        make=make,
    )


def _by_dynamicrafter(said: dict[str, Any], studio: Studio, say: Say) -> ClipMaking:
    wish = dynamicrafter_wishes.wish_of(said)
    # This checks as well.
    job = dynamicrafter_jobs.prepare(wish, say, studio.models.sharing(load_dynamicrafter))
    return ClipMaking(
        record=job.record(job.seed),
        num_frames=job.recipe.num_frames,
        size=job.model.pipeline.size_of(job.settings),
        check=lambda say: None,
        make=job.run,
    )


def _said(scene: Scene, picture: Path, output: Path, studio: Studio) -> dict[str, Any]:
    """The options of `animate` for a shot, by the names of its parameters."""
    shot = scene.shot
    is_own = scene.method == ANIMATEZERO
    chosen = {
        "still": picture,
        "output": output,
        "prompt": shot.prompt,
        "seed": scene.seed,
        "method": scene.method,
        "model": _drawing_model(scene) if shot.draw and is_own else shot.model,
        "look": shot.look if is_own else None,
        "last_frame": scene.last_frame,
        "device": studio.device,
        "memory": studio.memory,
        "download": studio.download,
        "force": True,
    }
    alike = Options.model_fields.keys() - chosen.keys() - {"drawing_model", "transition"}
    told = {name: getattr(shot, name) for name in alike}
    return chosen | {name: value for name, value in told.items() if value is not None}


def _drawing_model(scene: Scene) -> str:
    own = scene.shot.model if scene.method == ANIMATEZERO else scene.shot.drawing_model
    return own or MINIATURE
