"""What cannot work is said before anything is computed."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.adapters.diffusers_sites import latent_multiple, max_frames
from stillmotion.animatezero.settings import SamplingSettings
from stillmotion.animatezero.still import Still
from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class DrawingIdentity:
    """What must be equal for the latents of a still to be those of a model's own run."""

    model_name: str
    model_fingerprint: str
    scheduler_fingerprint: str
    timesteps: tuple[int, ...]


def drawing_identity(pipe: Any, scheduler: Any) -> DrawingIdentity:
    """Of a pipeline and a scheduler with its timesteps set."""
    name = str(pipe.config.get("_name_or_path") or type(pipe).__name__)
    return DrawingIdentity(
        # A local folder can tell who the user is; its last part is name enough.
        model_name=Path(name).name if Path(name).exists() else name,
        model_fingerprint=pipe.model_fingerprint,
        scheduler_fingerprint=scheduler_fingerprint(scheduler),
        timesteps=tuple(int(t) for t in scheduler.timesteps),
    )


def scheduler_fingerprint(scheduler: Any) -> str:
    """sha256 over the class and the configuration of a scheduler."""
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    record = [type(scheduler).__name__, config]
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()


def completed(sampling: SamplingSettings, pipe: Any, still: Still | None) -> SamplingSettings:
    """`sampling` with height and width: those given, else the still's, else the model's own.

    Raises InputError for a size that does not fit the still or the model, or too many steps.
    """
    allowed = pipe.scheduler.config.num_train_timesteps
    if sampling.num_inference_steps > allowed:
        raise InputError(
            f"num_inference_steps is {sampling.num_inference_steps}; give at most {allowed}."
        )
    own = _model_size(pipe) if still is None else (still.height, still.width)
    size = (sampling.height or own[0], sampling.width or own[1])
    if still is not None and size != own:
        raise InputError(
            f"The still has {own[0]} x {own[1]} pixels (height x width), not {size[0]} x "
            f"{size[1]}; leave height and width out, or resize the picture."
        )
    _check_multiple(size, pipe)
    return replace(sampling, height=size[0], width=size[1])


def check_num_frames(num_frames: int, unet: Any) -> None:
    """Raises InputError unless 1 <= num_frames <= rows of the table of positions."""
    allowed = max_frames(unet)
    whole = isinstance(num_frames, int) and not isinstance(num_frames, bool)
    if not (whole and 1 <= num_frames <= allowed):
        raise InputError(
            f"num_frames is {num_frames!r}; this motion model can make 1 to {allowed} frames."
        )


def check_drawn_alike(stills: Sequence[Still], pipe: Any, sampling: SamplingSettings) -> None:
    """Raises InputError unless the stills that have latents were drawn as `pipe` would now."""
    drawn = [still for still in stills if still.latents is not None]
    if not drawn:
        return
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(sampling.num_inference_steps)
    now = drawing_identity(pipe, scheduler)
    for still in drawn:
        differences = _differences(still, now)
        if differences:
            raise InputError(
                f"The latents of this still do not fit: {'; '.join(differences)}.  Use what it "
                "was drawn with, draw it again, or animate it as a photograph with "
                "still.without_latents()."
            )


def check_same_size(stills: Sequence[Still]) -> None:
    """Raises InputError unless all stills have one size, as the frames of a batch must."""
    sizes = {(still.height, still.width) for still in stills}
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise InputError(f"The stills have different sizes ({listed}); animate them one by one.")


def _differences(still: Still, now: DrawingIdentity) -> list[str]:
    found = []
    if still.model.get("fingerprint") != now.model_fingerprint:
        drawn_by = still.model.get("name", "an unknown one")
        found.append(f"another model (drawn with '{drawn_by}', now '{now.model_name}')")
    if still.scheduler_fingerprint != now.scheduler_fingerprint:
        found.append("another scheduler or schedule")
    if len(still.timesteps) != len(now.timesteps):
        found.append(
            f"another number of steps (drawn with {len(still.timesteps)} timesteps, now "
            f"{len(now.timesteps)})"
        )
    elif still.timesteps != now.timesteps:
        found.append("other timesteps")
    return found


def _model_size(pipe: Any) -> tuple[int, int]:
    size = pipe.unet.config.sample_size or 64
    height, width = (size, size) if isinstance(size, int) else size
    return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor


def _check_multiple(size: tuple[int, int], pipe: Any) -> None:
    multiple = pipe.vae_scale_factor * latent_multiple(pipe.unet)
    for name, value in zip(("height", "width"), size, strict=True):
        if value % multiple:
            near = max(multiple, round(value / multiple) * multiple)
            raise InputError(
                f"{name} is {value} pixels; it must be a multiple of {multiple}, for instance "
                f"{near}."
            )
