"""The arenas of a model: the miniature's own networks, or networks of full size, weights random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from stillmotion.animatezero.loading import load_model
from stillmotion.benchmarks.attention_contenders import (
    ATTENTION,
    attention_contenders,
    attention_stage,
)
from stillmotion.benchmarks.clip_contenders import ANIMATEDIFF, ANIMATEZERO, clip_contenders
from stillmotion.benchmarks.command_contenders import COMMANDS, command_contenders
from stillmotion.benchmarks.contenders import Arena
from stillmotion.benchmarks.random_networks import (
    FULL,
    Widths,
    animatediff_pipeline,
    dynamicrafter_pipeline,
)
from stillmotion.benchmarks.stages import ClipSpec, ClipStage, VideoStage
from stillmotion.benchmarks.video_contenders import video_contenders
from stillmotion.dynamicrafter.loading import load_dynamicrafter
from stillmotion.errors import InputError
from stillmotion.models.dynamicrafter_variants import VARIANTS, Variant
from stillmotion.models.loading import silent_libraries
from stillmotion.models.registry import MINIATURE_DYNAMICRAFTER

MINIATURE, FULL_SIZE = "miniature", "full-size"
MODELS = (MINIATURE, FULL_SIZE)
DYNAMICRAFTER = "dynamicrafter"
_VARIANTS = {f"{DYNAMICRAFTER}-{v}": v for v in (Variant.V256, Variant.V512, Variant.V1024)}
GROUPS = {
    MINIATURE: (ANIMATEDIFF, ANIMATEZERO, DYNAMICRAFTER, ATTENTION, COMMANDS),
    FULL_SIZE: (ANIMATEDIFF, ANIMATEZERO, *_VARIANTS, ATTENTION, COMMANDS),
}
"""What can be timed of each model."""
CLIP_STEPS, VIDEO_STEPS = 25, 50
"""Of AnimateZero's clips, as of both miniatures, and of DynamiCrafter's."""
FULL_CLIP = ClipSpec(height=512, width=512)


def arenas(
    model: str,
    device: torch.device,
    *,
    only: Sequence[str] = (),
    num_steps: int | None = None,
    compiles: bool = True,
    each_saving: bool = True,
) -> list[Arena]:
    """The arenas of a model, with the contenders of the groups in `only`; of all if it is empty.

    `num_steps` is in place of each model's own.  Compiled contenders, and the savings one by one,
    take part if that is wanted.  Raises InputError for an unknown model or group.
    """
    check(model, only)
    found = [
        _clips(model, device, num_steps, compiles=compiles, each_saving=each_saving),
        *_videos(model, device, num_steps, compiles=compiles, each_saving=each_saving),
        Arena(
            name=ATTENTION, title="one attention over 16 frames, 512 pixels, 320 channels",
            build=partial(attention_stage, device=device), contenders=attention_contenders(),
            num_steps=1,
        ),
        Arena(
            name=COMMANDS, title="commands in fresh processes, on the CPU",
            build=lambda dtype: None, contenders=command_contenders(miniature=model == MINIATURE),
            num_steps=1,
        ),
    ]  # fmt: skip
    chosen = [arena.only(only) if only else arena for arena in found]
    return [arena for arena in chosen if arena is not None]


def check(model: str, only: Sequence[str]) -> None:
    """Raises InputError for a model that cannot be timed, or a group that it has not."""
    if model not in MODELS:
        raise InputError(f"There is no model {model!r} to time; {', '.join(MODELS)} can be.")
    for group in only:
        if group not in GROUPS[model]:
            raise InputError(
                f"There is no group {group!r} of {model}; there are {', '.join(GROUPS[model])}."
            )


def clip_stage(
    model: str, dtype: torch.dtype, *, device: torch.device, widths: Widths = FULL
) -> ClipStage:
    """The stage of AnimateDiff and AnimateZero, with the clip that the model is made for."""
    if model == FULL_SIZE:
        return ClipStage(pipe=animatediff_pipeline(dtype, device, widths), clip=FULL_CLIP)
    loaded = load_model(MINIATURE, device=str(device))
    says = loaded.folder.description
    assert says.height is not None
    assert says.width is not None
    clip = ClipSpec(
        num_frames=says.num_frames, height=says.height, width=says.width,
        guidance_scale=says.guidance_scale,
    )  # fmt: skip
    return ClipStage(pipe=_in(dtype, loaded.pipeline), clip=clip)


def video_stage(
    group: str, dtype: torch.dtype, *, device: torch.device, widths: Widths = FULL
) -> VideoStage:
    """The stage of a DynamiCrafter, with the clip that it is made for."""
    if group in _VARIANTS:
        facts = VARIANTS[_VARIANTS[group]]
        clip = ClipSpec(height=facts.height, width=facts.width, guidance_scale=facts.guidance_scale)
        pipe: Any = dynamicrafter_pipeline(_VARIANTS[group], dtype, device, widths)
        return VideoStage(pipe=pipe, clip=clip, guidance_rescale=facts.guidance_rescale)
    loaded = load_dynamicrafter(MINIATURE_DYNAMICRAFTER, device=str(device))
    says = loaded.folder.description
    assert says.height is not None
    assert says.width is not None
    clip = ClipSpec(
        num_frames=says.num_frames, height=says.height, width=says.width,
        guidance_scale=says.guidance_scale,
    )  # fmt: skip
    return VideoStage(
        pipe=_in(dtype, loaded.pipeline), clip=clip, guidance_rescale=says.guidance_rescale
    )


def timed_dtype(device: torch.device) -> torch.dtype:
    """In which clips are made there."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _clips(
    model: str, device: torch.device, num_steps: int | None, *, compiles: bool, each_saving: bool
) -> Arena:
    return Arena(
        name="clips",
        title="a clip from a text; of AnimateZero the still is drawn, animated and decoded",
        build=partial(clip_stage, model, device=device),
        contenders=clip_contenders(compiles=compiles, each_saving=each_saving),
        num_steps=num_steps or CLIP_STEPS,
    )


def _videos(
    model: str, device: torch.device, num_steps: int | None, *, compiles: bool, each_saving: bool
) -> list[Arena]:
    full = dict.fromkeys(_VARIANTS, VIDEO_STEPS)
    groups = {DYNAMICRAFTER: CLIP_STEPS} if model == MINIATURE else full
    return [
        Arena(
            name=group,
            title="a clip from a picture and a text",
            build=partial(video_stage, group, device=device),
            contenders=video_contenders(group, compiles=compiles, each_saving=each_saving),
            num_steps=num_steps or own,
        )
        for group, own in groups.items()
    ]


def _in(dtype: torch.dtype, pipe: Any) -> Any:
    """The pipeline with all networks in that precision."""
    if pipe.unet.dtype == dtype:
        return pipe
    with silent_libraries():
        return pipe.to(dtype=dtype)
