"""What `animate` does by AnimateZero: from a request to written clips with their provenance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from stillmotion.animatezero.checks import check_run, completed
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.memory import apply_plan, store_float8
from stillmotion.animatezero.memory_needs import ClipSize, choose_plan
from stillmotion.animatezero.pacing import dense_count
from stillmotion.animatezero.pipeline import AnimateZeroOutput
from stillmotion.animatezero.requests import Clip, OnPreview, Run, Setup, seeded
from stillmotion.errors import StillmotionError
from stillmotion.jobs.advice import tell_about_few_steps, tell_about_prompt, tell_about_speed
from stillmotion.jobs.clip_requests import AnimateRequest
from stillmotion.jobs.context import Progress, Say
from stillmotion.jobs.outputs import free_path, numbered_paths
from stillmotion.jobs.previews import file_writer, latent_preview, sheet_maker
from stillmotion.jobs.records import (
    ClipRecipe,
    clip_provenance,
    motion_fingerprint,
)
from stillmotion.jobs.rehearsal import ClipAhead, rehearse
from stillmotion.media.clips import save_clip
from stillmotion.media.fit import unfit_frames
from stillmotion.media.images import PNG_KEY, side_car_path
from stillmotion.media.provenance import Provenance
from stillmotion.media.still import Still
from stillmotion.models.decoding import DecodeMemoryError
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.memory import AUTO, MemoryPlan


def check_animation(model: LoadedModel, request: AnimateRequest, say: Say) -> None:
    """Raises InputError or OutputError for what cannot be made or written, before computing."""
    check_run(model.pipeline, [_clip(request)], _run(model, request))
    seeded(request.seed)
    seeded(request.seed + request.count - 1)
    if request.preview is not None:
        latent_preview(model, request.first.still)
    if request.memory != AUTO:
        _memory_plan(model, request)
    _rehearse(request, clip_record(model, request, request.seed))
    for prompt in dict.fromkeys(request.prompts):
        tell_about_prompt(model, prompt, say)
    tell_about_speed(request.speed, say)
    tell_about_few_steps(model, request.sampling, say)
    if request.control.needs_trajectory:
        _tell_about_photographs(request, say)


def animate(model: LoadedModel, request: AnimateRequest, progress: Progress) -> dict[str, Any]:
    """Animate a still and write each clip, with its provenance, as soon as it is made.

    Returns:
        The facts: model, prompt, and of each clip its paths, seed and what is exact in it.

    Raises:
        DecodeMemoryError: not even one frame could be decoded; the latents were kept in a file.
    """
    setup = replace(_setup(model, request), memory=_memory_plan(model, request))
    paths = numbered_paths(request.output, request.count)
    record = clip_record(model, request, request.seed)
    records = [record.model_copy(update={"seed": record.seed + i}) for i in range(request.count)]
    first, last = request.first.still, request.last.still if request.last else None
    if setup.memory.weights == "float8":
        store_float8(model.pipeline.unet)
        first, last = _narrowed(model, first), last and _narrowed(model, last)
    rows = []
    with apply_plan(model.pipeline, setup.memory, device=model.pipeline.device):
        clips = model.pipeline.variants(
            first,
            request.prompt,
            seeds=[record.seed for record in records],
            num_frames=request.num_frames,
            sampling=request.sampling,
            control=request.control,
            last_frame=last,
            progress=progress,
            on_preview=_preview(model, request),
            **vars(setup),
        )
        made = _kept_latents(clips, paths, records)
        for path, record, clip in zip(paths, records, made, strict=True):
            rows.append(_write(clip, path, record, request))
    return {
        "model": model.reference,
        "method": records[0].method,
        "prompt": request.prompts[0],
        "prompts": None if isinstance(request.prompt, str) else dict(request.prompt.texts),
        "num_frames": request.num_frames - int(request.seamless),
        "fps": request.fps,
        "speed": request.speed.name,
        "photograph": request.first.still.latents is None,
        "first_frame": request.photographs.first_frame,
        **rows[0],
        "clips": rows,
    }


def _tell_about_photographs(request: AnimateRequest, say: Say) -> None:
    given = [request.first]
    if request.last is not None and request.end == "still":
        given.append(request.last)
    taken = [picture for picture in given if picture.still.latents is None]
    if not taken:
        return
    what = "the picture is animated as a photograph"
    if len(given) > 1:
        one = f"'{taken[0].name}' is animated as a photograph"
        what = "both pictures are animated as photographs" if len(taken) > 1 else one
    how = {
        "inversion": "by DDIM inversion of its pixels",
        "diffusion": "by direct diffusion of its pixels with one fixed noise",
    }[request.photographs.trajectory]
    say(f"{what}, without latents of its own drawing: {how}")


def clip_record(model: LoadedModel, request: AnimateRequest, seed: int) -> Provenance:
    """The provenance of a clip that a request asks for."""
    recipe = ClipRecipe(
        num_frames=request.num_frames,
        sampling=completed(request.sampling, model.pipeline, request.first.still),
        control=request.control,
        fps=request.fps,
        scale=request.scale,
        photograph=request.first.still.latents is None,
        last_photograph=request.end == "still" and request.stills[-1].latents is None,
        motion_fingerprint=motion_fingerprint(model),
        prompts=None if isinstance(request.prompt, str) else dict(request.prompt.texts),
        end=request.end,
        seamless=request.seamless,
        photographs=request.photographs,
        ingredients=model.ingredients.record(),
        guide=request.guide_record,
        speed=request.speed.record(),
    )
    return clip_provenance(
        model, recipe, prompt=request.prompts[0], seed=seed, still=request.first, last=request.last
    )


def _clip(request: AnimateRequest) -> Clip:
    return Clip(
        prompt=request.prompt,
        generator=seeded(request.seed),
        still=request.first.still,
        last=request.last.still if request.last else None,
    )


def _run(model: LoadedModel, request: AnimateRequest) -> Run:
    return Run(
        num_frames=request.num_frames,
        sampling=request.sampling,
        control=request.control,
        setup=_setup(model, request),
    )


def _setup(model: LoadedModel, request: AnimateRequest) -> Setup:
    return Setup(
        guide=request.guide,
        image_embeds=model.image_embeds(uses_guidance=request.sampling.uses_guidance),
        photograph=request.photographs,
        speed=request.speed,
    )


def _memory_plan(model: LoadedModel, request: AnimateRequest) -> MemoryPlan:
    is_dense = request.control.even_pace and request.last is not None
    size = ClipSize(
        num_frames=dense_count(request.num_frames) if is_dense else request.num_frames,
        height=request.first.still.height,
        width=request.first.still.width,
        uses_guidance=request.sampling.uses_guidance,
    )
    device = model.pipeline.device
    return choose_plan(
        model.pipeline, request.memory, size, device=device, control=request.control,
        speed=request.speed,
    )  # fmt: skip


def _preview(model: LoadedModel, request: AnimateRequest) -> OnPreview | None:
    """To the file that was asked for, or to those who watch, who can do without."""
    factor, steps = model.pipeline.vae_scale_factor, request.sampling.num_inference_steps
    if request.preview is not None:
        preview = latent_preview(model, request.first.still)
        return sheet_maker(preview, factor, steps, file_writer(request.preview))
    if request.on_preview is None:
        return None
    try:
        preview = latent_preview(model, request.first.still)
    except StillmotionError:
        return None
    return sheet_maker(preview, factor, steps, request.on_preview)


def _narrowed(model: LoadedModel, still: Still) -> Still:
    """The still as one of the model with 8-bit weights.

    To its fingerprint that is another model, but it is nearly the one that was checked before.
    """
    return replace(still, model=still.model | {"fingerprint": model.pipeline.model_fingerprint})


def _kept_latents(
    clips: Iterable[AnimateZeroOutput], paths: list[Path], records: list[Provenance]
) -> Iterator[AnimateZeroOutput]:
    """The clips; if one cannot be decoded, its latents are written before that is said."""
    waiting = zip(paths, records, strict=True)
    try:
        for clip in clips:
            next(waiting)
            yield clip
    except DecodeMemoryError as error:
        path, record = next(waiting)
        kept = free_path(path.with_name(f"{path.name}.latents.safetensors"))
        # With the record, from which `--from` makes the clip where there is more memory.
        content = save({"latents": error.latents.contiguous()}, {PNG_KEY: record.to_json()})
        with atomic_path(kept, overwrite=False) as temporary:
            temporary.write_bytes(content)
        raise DecodeMemoryError(error.latents, kept) from error


def _write(
    clip: AnimateZeroOutput, path: Path, record: Provenance, request: AnimateRequest
) -> dict[str, Any]:
    frames, latents = clip.frames[0], clip.latents
    facts = {
        "path": str(path),
        "record": str(side_car_path(path)),
        "seed": record.seed,
        "first_frame_is_the_still": bool((frames[0] == request.first.still.image).all()),
    }
    if request.last is not None and not request.seamless:
        facts["last_frame_is_the_still"] = bool((frames[-1] == request.last.still.image).all())
    if request.seamless:
        frames, latents = frames[:-1], latents[:, :, :-1]
    if request.first.fit is not None:
        frames = unfit_frames(frames, request.first.fit)
    save_clip(
        frames,
        path,
        fps=request.fps,
        provenance=record,
        overwrite=request.overwrite,
        latents=latents if path.suffix.lower() == ".safetensors" else None,
        scale=request.scale,
    )
    return facts


def _rehearse(request: AnimateRequest, record: Provenance) -> None:
    """Raises InputError or OutputError for what the writer would refuse."""
    frame = np.zeros((1, *request.first.still.image.shape), np.uint8)
    if request.first.fit is not None:
        frame = unfit_frames(frame, request.first.fit)
    _, height, width, _ = frame.shape
    ahead = ClipAhead(num_frames=request.num_frames, height=height, width=width, fps=request.fps,
                      scale=request.scale)  # fmt: skip
    rehearse(ahead, request.output, record)
