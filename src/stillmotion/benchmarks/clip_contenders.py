"""Who makes clips from text: AnimateDiff and AnimateZero, by diffusers, by the letter, and ours."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AnimateDiffPipeline
from torch import Tensor

from stillmotion.animatezero.memory import apply_plan, store_float8
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.requests import seeded
from stillmotion.animatezero.settings import FIG6_ROWS, PAPER, AnimateZeroSettings
from stillmotion.benchmarks.contenders import Contender, Made, Prepared
from stillmotion.benchmarks.ladder import saving_contenders
from stillmotion.benchmarks.literal_animatezero import literal_prepared
from stillmotion.benchmarks.stages import ClipStage, networks_of, stage_compiling
from stillmotion.diffusion.speed import SPEEDS
from stillmotion.runtime.memory import PRESETS, MemoryPlan
from stillmotion.runtime.seeds import generator

ANIMATEDIFF, ANIMATEZERO = "animatediff", "animatezero"
"""Groups."""
DIFFUSERS, LITERAL, OURS = "diffusers", "literal", "ours"
"""Names of those that others are held against."""
OURS_BEFORE, OURS_COMPILED, OURS_SEQUENTIAL, OURS_8BIT, OURS_FEW_STEPS = (
    "ours-drawn-before", "ours-compiled", "ours-sequential", "ours-8bit", "ours-4-steps",
)  # fmt: skip
Draws = Literal["beside", "before", "not"]
"""When the still is drawn: in the calls of its frames, in calls of its own before, or never."""
FEW_STEPS = 4
PLAIN = replace(FIG6_ROWS["a"], frame_norm="across_frames")
"""AnimateDiff as diffusers computes it."""


def clip_contenders(*, compiles: bool, each_saving: bool = True) -> tuple[Contender, ...]:
    """All of them; compiled ones, which take minutes to compile, and rungs only if wanted."""
    return (
        *_diffusers(compiles=compiles),
        Contender(
            name="ours-animatediff", title="AnimateDiff by this package", group=ANIMATEDIFF,
            label="exact", against=DIFFUSERS, prepare=partial(our_clip, control=PLAIN, draws="not"),
        ),
        Contender(
            name=LITERAL, title="AnimateZero by the letter", group=ANIMATEZERO,
            label="reference", prepare=literal_prepared,
        ),
        Contender(
            name=OURS, title="AnimateZero by this package", group=ANIMATEZERO, label="exact",
            against=LITERAL, prepare=our_clip,
        ),
        Contender(
            name=OURS_BEFORE, title="the same, its still drawn before", group=ANIMATEZERO,
            label="exact", against=LITERAL, prepare=partial(our_clip, draws="before"),
        ),
        *(saving_contenders(our_clip, ANIMATEZERO, LITERAL) if each_saving else ()),
        *_compiled(compiles=compiles),
        *_speeds(),
        *_memory_plans(),
        Contender(
            name=OURS_FEW_STEPS, group=ANIMATEZERO, label="other",
            title=f"this package, {FEW_STEPS} steps without guidance",
            prepare=partial(our_clip, num_steps=FEW_STEPS, guidance_scale=1.0),
        ),
    )  # fmt: skip


def _diffusers(*, compiles: bool) -> list[Contender]:
    common: Any = {"group": ANIMATEDIFF, "against": DIFFUSERS, "label": "exact"}
    found = [
        Contender(
            name=DIFFUSERS, title="AnimateDiff by diffusers, eager", group=ANIMATEDIFF,
            label="reference", prepare=diffusers_clip,
        ),
        Contender(
            name="diffusers-channels-last",
            title="diffusers, channels-last and fused QKV",
            prepare=partial(diffusers_clip, arranges=True), **common,
        ),
    ]  # fmt: skip
    if compiles:
        found.append(
            Contender(
                name="diffusers-compiled", title="diffusers, compiled", is_counted=False,
                prepare=partial(diffusers_clip, compiles=True), **common,
            )
        )  # fmt: skip
    return found


def _compiled(*, compiles: bool) -> list[Contender]:
    if not compiles:
        return []
    return [
        Contender(
            name=OURS_COMPILED, title="this package, blocks compiled", group=ANIMATEZERO,
            label="exact", against=OURS, prepare=_compiled_clip, is_counted=False,
        )
    ]  # fmt: skip


def _compiled_clip(stage: ClipStage) -> Prepared:
    return our_clip(stage, extras={"compiling": stage_compiling(stage)})


def _speeds() -> list[Contender]:
    """The approximate presets, on a still that is drawn exactly: so clips can be compared."""
    return [
        Contender(
            name=f"ours-{name}", title=f"this package, --speed {name}", group=ANIMATEZERO,
            label="approximate", against=OURS_BEFORE,
            prepare=partial(our_clip, draws="before", animating={"speed": name}),
        )
        for name, speed in SPEEDS.items()
        if not speed.is_exact
    ]  # fmt: skip


def _memory_plans() -> list[Contender]:
    lean = MemoryPlan(sequential_guidance=True, decode_chunk=1)
    small = replace(PRESETS["tiny"], offload="none")
    common: Any = {"group": ANIMATEZERO, "against": OURS}
    return [
        Contender(
            name=OURS_SEQUENTIAL, title="this package, guidance in sequence", label="exact",
            prepare=partial(our_clip, memory=lean), **common,
        ),
        Contender(
            name=OURS_8BIT, title="this package, weights in 8 bits, guidance in sequence",
            label="approximate", prepare=partial(our_clip, memory=small), **common,
        ),
    ]  # fmt: skip


def diffusers_clip(stage: ClipStage, *, arranges: bool = False, compiles: bool = False) -> Prepared:
    """diffusers' AnimateDiffPipeline on the stage's networks.

    What rearranges or compiles the U-Net does so to a copy: the weights of others stay as they
    are.
    """
    parts = dict(stage.pipe.components)
    if arranges or compiles:
        parts["unet"] = copy.deepcopy(stage.pipe.unet)
    if arranges:
        parts["unet"].to(memory_format=torch.channels_last)
        parts["unet"].fuse_qkv_projections()
    if compiles:
        parts["unet"].compile()
    pipe = AnimateDiffPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    clip = stage.clip

    def run(num_steps: int) -> Made:
        last: dict[str, Tensor] = {}

        def keep(pipe: Any, index: int, timestep: Any, values: dict[str, Tensor]) -> Any:
            last.update(values)
            return values

        noise = _noise(stage)
        pipe(
            clip.prompt, num_frames=clip.num_frames, height=clip.height, width=clip.width,
            num_inference_steps=num_steps, guidance_scale=clip.guidance_scale, latents=noise,
            negative_prompt="", output_type="np", callback_on_step_end=keep,
        )  # fmt: skip
        return Made(latents=last["latents"])

    return Prepared(run=run, networks=networks_of(pipe))


def our_clip(
    stage: ClipStage,
    *,
    control: AnimateZeroSettings = PAPER,
    draws: Draws = "beside",
    memory: MemoryPlan | None = None,
    num_steps: int | None = None,
    guidance_scale: float | None = None,
    extras: Mapping[str, Any] | None = None,
    animating: Mapping[str, Any] | None = None,
) -> Prepared:
    """This package's pipeline: draws a still and animates it, or the frames alone.

    `num_steps` and `guidance_scale` are in place of those asked for; `extras` are options of the
    pipeline for both parts, `animating` for the second where the still is drawn before.
    """
    pipe, clip = stage.pipe, stage.clip
    plan = (memory or MemoryPlan()).on(stage.device)
    if plan.weights == "float8":
        pipe = AnimateZeroPipeline(**{**pipe.components, "unet": copy.deepcopy(pipe.unet)})
        pipe.set_progress_bar_config(disable=True)
        store_float8(pipe.unet)
    scale = clip.guidance_scale if guidance_scale is None else guidance_scale
    given = {"memory": plan, **(extras or {})}

    def run(steps: int) -> Made:
        sampling = stage.sampling(num_steps or steps, guidance_scale=scale)
        with _planned(pipe, plan):
            if draws == "before":
                [still] = pipe.draw(clip.prompt, seeds=[clip.seed], sampling=sampling, **given)
                made = pipe.animate(
                    still,
                    seed=clip.seed,
                    num_frames=clip.num_frames,
                    control=control,
                    **given,
                    **(animating or {}),
                )
                return Made(latents=made.latents, frames=made.frames[0])
            start: dict[str, Any] = {"generator": seeded(clip.seed)}
            if draws == "not":
                start = {"latents": _noise(stage)}
            made = pipe(
                clip.prompt, num_frames=clip.num_frames, control=control, output_type="np",
                **start, **vars(sampling), **given,
            )  # fmt: skip
            frames = (made.frames[0] * 255).round().astype(np.uint8)
            return Made(latents=made.latents, frames=frames)

    return Prepared(run=run, networks=networks_of(pipe))


def our_clips(stage: ClipStage, *, count: int) -> Prepared:
    """This package's pipeline: draws one still, and makes so many clips of it."""
    pipe, clip = stage.pipe, stage.clip

    def run(num_steps: int) -> Made:
        sampling = stage.sampling(num_steps)
        [still] = pipe.draw(clip.prompt, seeds=[clip.seed], sampling=sampling)
        seeds = range(clip.seed, clip.seed + count)
        made = pipe.variants(still, seeds=seeds, num_frames=clip.num_frames, control=PAPER)
        return Made(latents=torch.cat([one.latents for one in made]))

    return Prepared(run=run, networks=networks_of(pipe))


def _planned(pipe: Any, plan: MemoryPlan) -> AbstractContextManager[object]:
    """The plan applied for the length of a block; nothing for the plan that does nothing."""
    if plan == MemoryPlan():
        return nullcontext()
    return apply_plan(pipe, plan, device=pipe.unet.device)


def _noise(stage: ClipStage) -> Tensor:
    """What the frames start from, (1 c f h w)."""
    noise = torch.randn(stage.latent_shape, generator=generator(stage.clip.seed))
    return noise.to(stage.device, stage.pipe.unet.dtype)
