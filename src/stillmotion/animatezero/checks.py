"""What cannot work is said before anything is computed."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.adapters.diffusers_schedulers import check_repeatable
from stillmotion.adapters.diffusers_sites import check_unextended, latent_multiple, max_frames
from stillmotion.animatezero.pacing import dense_count
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.requests import Clip, Run, Setup
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings, require_whole
from stillmotion.errors import InputError
from stillmotion.media.still import Still


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
    _check_steps(sampling.num_inference_steps, pipe.scheduler)
    own = _model_size(pipe) if still is None else (still.height, still.width)
    size = (sampling.height or own[0], sampling.width or own[1])
    if still is not None and size != own:
        raise InputError(
            f"The still has {own[0]} x {own[1]} pixels (height x width), not {size[0]} x "
            f"{size[1]}; leave height and width out, or resize the picture."
        )
    _check_multiple(size, pipe)
    return replace(sampling, height=size[0], width=size[1])


def check_run(pipe: Any, clips: Sequence[Clip], run: Run) -> SamplingSettings:
    """The sampling settings of a run, completed; InputError or ModelError if something is amiss."""
    check_extensions(pipe, run.setup)
    two_ends = any(clip.last is not None for clip in clips)
    dense = two_ends and run.control.even_pace
    num_frames = dense_count(run.num_frames) if dense else run.num_frames
    check_num_frames(num_frames, pipe.unet, run.control, two_ends=two_ends)
    if dense and (run.setup.guide is not None or any(clip.noise is not None for clip in clips)):
        raise InputError(
            "even_pace chooses among more frames than a guide or given latents are for; leave it "
            "off with these."
        )
    given = [still for clip in clips for still in (clip.still, clip.last) if still is not None]
    check_same_size(given)
    sampling = completed(run.sampling, pipe, given[0] if given else None)
    run.control.denoisings(sampling.num_inference_steps)
    if run.control.time_travel is not None:
        check_repeatable(pipe.scheduler, "time travel")
    if run.control.needs_trajectory:
        check_drawn_alike(given, pipe, sampling)
    if run.setup.guide is not None:
        run.setup.guide.check(run.num_frames, size_of(sampling))
    for clip in clips:
        if isinstance(clip.prompt, PromptTrack):
            clip.prompt.check(run.num_frames)
    return sampling


def check_extensions(pipe: Any, setup: Setup) -> None:
    """Raises ModelError if an extension changes the loop, InputError for half an IP-Adapter."""
    check_unextended(pipe)
    has_adapter = pipe.unet.encoder_hid_proj is not None
    if has_adapter and not setup.image_embeds:
        raise InputError(
            "The model has an IP-Adapter, but no picture for it; give image_embeds (see "
            "ip_adapter_embeds), or call unload_ip_adapter() first."
        )
    if setup.image_embeds and not has_adapter:
        raise InputError("There are image_embeds, but the model has no IP-Adapter; load one first.")


def size_of(sampling: SamplingSettings) -> tuple[int, int]:
    """Height and width of completed settings, in pixels."""
    assert sampling.height is not None
    assert sampling.width is not None
    return sampling.height, sampling.width


def check_num_frames(
    num_frames: int, unet: Any, control: AnimateZeroSettings, *, two_ends: bool = False
) -> None:
    """Raises InputError unless the motion model can make that many frames under `control`."""
    require_whole("num_frames", num_frames)
    rows, length = max_frames(unet), control.window_of(num_frames)
    if control.speed * (length - 1) > rows - 1:  # lively frames lie several rows apart
        raise InputError(
            f"A window over {length} frames is too long: this motion model has positions for 1 to "
            f"{rows}; give a window_length of at most {rows}."
        )
    is_paper_window = control.window == "corrected" and control.query_position == "last"
    if num_frames > length and not (is_paper_window or control.window == "off"):
        raise InputError(
            f"num_frames is {num_frames}; more than {length} need a window that slides, which is "
            "the corrected one with the query position 'last', or no window."
        )
    if not two_ends:
        return
    if num_frames < 2:
        raise InputError("num_frames is 1; a first and a last frame make at least 2.")
    if not (is_paper_window or control.window == "off"):
        raise InputError(
            "A last frame needs the corrected window with the query position 'last', or no window."
        )
    if not control.insert_latents:
        raise InputError("A last frame needs insert_latents; switch it on, or leave the frame out.")


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


def _check_steps(steps: int, scheduler: Any) -> None:
    allowed = int(scheduler.config.num_train_timesteps)
    if steps >= allowed:
        # An offset (`steps_offset`) pushes the first of so many steps out of the schedule.
        trial = copy.deepcopy(scheduler)
        trial.set_timesteps(allowed)
        allowed -= int(max(trial.timesteps)) >= allowed
    if steps > allowed:
        raise InputError(f"num_inference_steps is {steps}; give at most {allowed}.")


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
