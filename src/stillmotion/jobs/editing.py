"""What `edit` does: from a clip and a text to first frames, or to a new clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.ingredients import NOTHING
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SpeedSettings
from stillmotion.errors import InputError
from stillmotion.jobs import animating, drawing
from stillmotion.jobs.clip_requests import AnimateRequest
from stillmotion.jobs.common import chosen_seed, chosen_speed, with_changes
from stillmotion.jobs.context import Context, Output, Progress, Say
from stillmotion.jobs.fields import MAX_FRAMES
from stillmotion.jobs.model import EditJob
from stillmotion.jobs.outputs import check_clip_outputs, check_still_output
from stillmotion.jobs.pictures import Picture, load_picture, model_size
from stillmotion.jobs.records import GuideRecord
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.jobs.sources import Found
from stillmotion.media import control_maps
from stillmotion.media.container import Clip
from stillmotion.media.fit import fit_picture
from stillmotion.media.provenance import fingerprint_pixels
from stillmotion.media.reading import read_frames
from stillmotion.models.controlnets import load_controlnet
from stillmotion.models.fingerprint import fingerprint
from stillmotion.models.registry import MINIATURE

Job = Callable[[Progress], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class SourceWish:
    """Which frames of which clip, and what is kept of them."""

    clip: Found
    start: int
    count: int | None
    stride: int
    control: str
    depth_model: Path | None


@dataclass(frozen=True, kw_only=True)
class EditWish:
    """What the user said; `None` (also inside the dictionaries) is what was left open."""

    source: SourceWish
    prompt: str
    output: Path
    count: int
    still: Found | None
    controlnet: str | None
    control_scale: float
    fps: float | None
    scale: int
    seed: int | None
    sampling: dict[str, Any]
    speed: SpeedSettings
    plain_animatediff: bool
    memory: str
    overwrite: bool
    model: dict[str, Any]
    """Arguments of `load_model`."""
    on_preview: Callable[[bytes], None] | None = None

    @property
    def wants_stills(self) -> bool:
        """Whether first frames alone are asked for."""
        return self.output.suffix.lower() == ".png"


@dataclass(frozen=True)
class _Maps:
    frames: NDArray[np.uint8]
    fps: float


def wish_of(job: EditJob, output: Output, context: Context) -> EditWish:
    """From a job.  Raises InputError for a picture or clip that is not there."""
    depth = Path(job.depth_model) if job.depth_model is not None else None
    return EditWish(
        source=SourceWish(
            clip=context.find(job.clip), start=job.start, count=job.frames, stride=job.stride,
            control=job.control, depth_model=depth,
        ),
        prompt=job.prompt, output=output.path, count=job.count,
        still=context.find(job.still) if job.still is not None else None,
        controlnet=job.controlnet, control_scale=job.control_scale, fps=job.fps,
        scale=job.scale or 1, seed=job.seed,
        sampling={"num_inference_steps": job.steps, "guidance_scale": job.guidance,
                  "negative_prompt": job.negative},
        speed=chosen_speed(job.speed),
        plain_animatediff=job.animatediff, memory=job.memory, overwrite=output.overwrite,
        model={"reference": job.model or MINIATURE, "ingredients": NOTHING, "look": job.look,
               "device": context.device, "download": context.download},
        on_preview=context.on_preview,
    )  # fmt: skip


def prepare(wish: EditWish, say: Say, models: SharedModels) -> Job:
    """Check everything and load what is needed; the job makes the files and returns the facts.

    Raises:
        InputError: a clip, still or number that cannot be used.
        ModelError: the model or the ControlNet is not here, or does not fit.
        OutputError: the output cannot be written.
    """
    _check_outputs(wish)
    model = models.sharing(load_model)(**wish.model)
    sampling = with_changes(model.sampling, **wish.sampling)
    maps = _maps(wish.source, model, say)
    size = {"height": maps.frames.shape[1], "width": maps.frames.shape[2]}
    sampling = with_changes(sampling, **size)
    net = load_controlnet(
        wish.controlnet,
        model.pipeline.unet,
        model.folder.path,
        download=bool(wish.model.get("download")),
    )
    guide = ControlGuide(net=net, maps=maps.frames, scale=wish.control_scale)
    seed = chosen_seed(wish.seed)
    if wish.wants_stills:
        request = drawing.DrawRequest(
            prompt=model.styled(wish.prompt), output=wish.output, count=wish.count, seed=seed,
            sampling=sampling, speed=wish.speed, guide=guide, on_preview=wish.on_preview,
            overwrite=wish.overwrite,
        )  # fmt: skip
        drawing.check_drawing(model, request, say)
        return lambda progress: drawing.draw(model, request, progress)
    return lambda progress: _edit(wish, model, sampling, guide, _Run(seed, maps.fps, say), progress)


@dataclass(frozen=True)
class _Run:
    seed: int
    fps: float
    say: Say


def _edit(
    wish: EditWish,
    model: LoadedModel,
    sampling: SamplingSettings,
    guide: ControlGuide,
    run: _Run,
    progress: Progress,
) -> dict[str, Any]:
    steps = sampling.num_inference_steps
    before = 0 if wish.still is not None else steps
    if wish.still is not None:
        first = load_picture(wish.still, photograph=False)
        if first.still.latents is not None and first.still.settings is not None:
            # What was not said is as the still was drawn: its latents fit nothing else.
            sampling = with_changes(first.still.settings, **wish.sampling)
    else:
        [still] = model.pipeline.draw(
            model.styled(wish.prompt), seeds=[run.seed], sampling=sampling, guide=guide,
            speed=wish.speed,
            progress=lambda done, total: progress(done, total + steps),
        )  # fmt: skip
        first = Picture(still, None)
    request = AnimateRequest(
        first=first,
        prompt=model.styled(wish.prompt),
        seed=run.seed,
        num_frames=len(guide.maps),
        sampling=sampling,
        speed=wish.speed,
        control=FIG6_ROWS["a"] if wish.plain_animatediff else AnimateZeroSettings(),
        guide=guide,
        guide_record=_record(wish, guide),
        output=wish.output,
        fps=wish.fps or run.fps,
        scale=wish.scale,
        memory=wish.memory,
        on_preview=wish.on_preview,
        overwrite=wish.overwrite,
    )
    animating.check_animation(model, request, run.say)
    return animating.animate(
        model, request, lambda done, total: progress(before + done, before + total)
    )


def _check_outputs(wish: EditWish) -> None:
    if wish.wants_stills:
        check_still_output(wish.output, wish.count, overwrite=wish.overwrite)
        if wish.still is not None:
            raise InputError(
                f"'{wish.output}' asks for first frames, but --still names one that is chosen "
                "already; give the name of a clip, such as new.mp4."
            )
        return
    if wish.count != 1:
        raise InputError(
            f"--count is {wish.count}, but '{wish.output}' is one clip; several first frames are "
            "drawn with -o NAME.png."
        )
    check_clip_outputs(wish.output, 1, overwrite=wish.overwrite)


def _maps(source: SourceWish, model: LoadedModel, say: Say) -> _Maps:
    """The control maps of the clip's frames, in a size that the model takes."""
    if source.control not in control_maps.CONTROLS:
        raise InputError(
            f"--control is '{source.control}'; it can be {', '.join(control_maps.CONTROLS)}."
        )
    if source.control == "depth" and source.depth_model is None:
        raise InputError(
            "--control depth needs a depth-estimation model; name its folder with --depth-model, "
            "or give depth maps as the clip, with --control given."
        )
    if source.control == "edges":
        control_maps.require_opencv()
    clip = _frames_of(source, say)
    height, width = clip.frames.shape[1:3]
    target = model_size(model, height, width)
    if target != (height, width):
        say(f"the clip has {width} x {height} pixels; it is cut to {target[1]} x {target[0]}")
    frames = np.stack([fit_picture(frame, target)[0] for frame in clip.frames])
    if source.control == "edges":
        return _Maps(control_maps.edges(frames), clip.fps)
    if source.depth_model is not None and source.control == "depth":
        device = str(model.pipeline.device)
        estimator = control_maps.load_depth_estimator(source.depth_model, device)
        return _Maps(control_maps.depth(frames, estimator), clip.fps)
    return _Maps(control_maps.given(frames), clip.fps)


def _frames_of(source: SourceWish, say: Say) -> Clip:
    """As many frames as were asked for, else all up to `MAX_FRAMES`."""
    chosen = {"start": source.start, "stride": source.stride}
    if source.count is not None:
        return read_frames(source.clip.path, count=source.count, **chosen)
    try:
        clip = read_frames(source.clip.path, count=MAX_FRAMES, **chosen)
    except InputError:  # shorter, or unreadable, which is said now
        return read_frames(source.clip.path, **chosen)
    say(f"the first {MAX_FRAMES} frames of the clip are taken; --frames takes another number")
    return clip


def _record(wish: EditWish, guide: ControlGuide) -> GuideRecord:
    return GuideRecord(
        control=wish.source.control,
        scale=guide.scale,
        start=wish.source.start,
        stride=wish.source.stride,
        source=wish.source.clip.name,
        maps=fingerprint_pixels(guide.maps),
        controlnet=fingerprint({"controlnet": guide.net}),
    )
