"""DynamiCrafter's calls that are counted; see `full_size.py`.

A step is counted without savings too: what diffusers' layers cost within this package's loop, which
makes all branches in one batch and projects contexts once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from stillmotion.adapters.lean_savings import Savings
from stillmotion.benchmarks.call import Call
from stillmotion.benchmarks.counting import Counts, counted
from stillmotion.benchmarks.full_size_parts import (
    DECODE,
    DTYPE,
    LATENT_CHANNELS,
    NUM_FRAMES,
    NUM_STEPS,
    TEXT_TOKENS,
    decode_call,
    latent_size,
    meta,
    with_and_without_kernels,
)
from stillmotion.diffusion.speed import EXACT_CALL
from stillmotion.diffusion.speed import Call as NetworkCall
from stillmotion.dynamicrafter.detail_guidance import repeated
from stillmotion.dynamicrafter.sampling import Branch, Conditions, Denoiser, sample_clip
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.kernels.choice import is_fused
from stillmotion.models.dynamicrafter_variants import VARIANTS, Variant

PLAIN_STEP, FIRST_STEP, LATER_STEP = "plain-step", "first-step", "later-step"
"""Names of calls; the first is a later step without savings."""
VIDEO_MODELS = {f"dynamicrafter-{v}": v for v in (Variant.V256, Variant.V512, Variant.V1024)}

_TEXT_WIDTH = 1024  # of OpenCLIP ViT-H
_IMAGE_TOKENS = 16


def dynamicrafter_calls(model: str) -> Iterator[Call]:
    """Of one of `VIDEO_MODELS`."""
    variant = VIDEO_MODELS[model]
    facts = VARIANTS[variant]
    yield Call(
        model=model, name=PLAIN_STEP, title=f"{facts.title}, later step, without savings",
        count=partial(video_call, variant, 1, Savings.none()),
    )  # fmt: skip
    for step, (name, title) in enumerate(((FIRST_STEP, "first step"), (LATER_STEP, "later step"))):
        count = partial(video_call, variant, step)
        words = f"{facts.title}, {title}"
        yield from with_and_without_kernels(model, name, words, count, PLAIN_STEP)
    yield Call(
        model=model, name=DECODE, title=f"{facts.title}, decoding one frame",
        count=partial(decode_call, latent_size(facts.height, facts.width)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _CountedDenoiser(Denoiser):
    """Counts every guided prediction."""

    counts: list[Counts] = field(default_factory=list)

    def predict(self, z_t: Tensor, timestep: Tensor, call: NetworkCall = EXACT_CALL) -> Tensor:
        predict = super().predict
        prediction, counts = counted(lambda: predict(z_t, timestep, call))
        self.counts.append(counts)
        return prediction


def video_call(variant: Variant, step: int, savings: Savings | None = None) -> Counts:
    """One prediction of a clip: in the first the contexts are projected, later they are known."""
    fused = is_fused(meta(1))
    return _steps(variant, Savings() if savings is None else savings, fused=fused)[step]


@cache
def _steps(variant: Variant, savings: Savings, *, fused: bool) -> tuple[Counts, ...]:
    """The predictions of `sample_clip`, counted where the kernels are as `fused` says."""
    facts = VARIANTS[variant]
    size = latent_size(facts.height, facts.width)
    scheduler = DynamiCrafterScheduler(**facts.scheduler)
    scheduler.set_timesteps(NUM_STEPS)
    denoiser = _CountedDenoiser(
        unet=video_unet(variant is Variant.V256),
        scheduler=scheduler,
        conditions=_conditions(size, facts.default_pace),
        settings=DynamiCrafterSettings(
            guidance_scale=facts.guidance_scale, guidance_rescale=facts.guidance_rescale
        ),
        trained_frames=NUM_FRAMES,
        savings=savings,
    )
    noise = partial(meta, 1, LATENT_CHANNELS, NUM_FRAMES, *size)
    assert is_fused(noise()) == fused
    with torch.no_grad():
        sample_clip(denoiser, noise(), noise)
    return tuple(denoiser.counts)


def _conditions(size: tuple[int, int], pace: int) -> Conditions:
    """Nothing, and text with a picture: the two branches that all released scripts use."""
    nothing, full = (
        Branch(
            text=meta(1, TEXT_TOKENS, _TEXT_WIDTH),
            image=meta(1, NUM_FRAMES, _IMAGE_TOKENS, _TEXT_WIDTH),
        )
        for _ in range(2)
    )
    return Conditions(
        branches=(nothing, full),
        detail=repeated(meta(1, LATENT_CHANNELS, *size), NUM_FRAMES),
        pace=torch.full((1,), pace, device="meta"),
    )


@cache
def video_unet(has_gate: bool) -> Any:
    """The network of DynamiCrafter 256, which has gates, or of 512 and 1024."""
    with torch.device("meta"):
        unet = DynamiCrafterUNet(image_gate=has_gate).eval()
        return nn.Module.to(unet, dtype=DTYPE)
