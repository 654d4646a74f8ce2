"""The denoising loop: conditions, guidance and windows around the U-Net.

Shapes: latents b c f h w with b = 1, one clip at a time, so that a result does not depend on what
else was asked for.  Predictions of the branches of guidance are made in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stillmotion.adapters.adapter import Adapter, adapted
from stillmotion.adapters.compiled_blocks import CompiledBlocks
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_unet3d import unet3d_adapters
from stillmotion.diffusion.guidance import (
    classifier_free_guidance,
    multi_condition_guidance,
    rescale_guidance,
)
from stillmotion.diffusion.speed import EXACT, EXACT_CALL, Call, SpeedSettings, call_plan
from stillmotion.diffusion.windows import blended
from stillmotion.dynamicrafter.detail_guidance import concatenated
from stillmotion.dynamicrafter.dual_stream import SharedContexts, gates_scaled
from stillmotion.dynamicrafter.image_context import resampled
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.runtime.compiling import Compiling


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What one prediction is made under: text (1 n d), image tokens (1 t m d) or None."""

    text: Tensor
    image: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a clip is denoised under."""

    branches: tuple[Branch, ...]
    """The full one last; before it, with guidance, none at all, or none and the image alone."""
    detail: Tensor | None
    """What is concatenated with the latents (1 c f h w)."""
    pace: Tensor | None
    """Frame stride or frames per second (1)."""


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """A U-Net with its scheduler, whose timesteps are set, and the settings of one clip."""

    unet: Any
    scheduler: DynamiCrafterScheduler
    conditions: Conditions
    settings: DynamiCrafterSettings
    trained_frames: int
    """Longer clips are seen in windows of as many."""
    sequential_guidance: bool = False
    """The branches one after the other: less memory, the same but for rounding."""
    speed: SpeedSettings = EXACT
    reuse: FeatureReuse | None = None
    """Of a run that uses deep features again: put on the network for its length."""
    savings: Savings = field(default_factory=Savings)
    compiling: Compiling | None = None
    """How the blocks of the U-Net are compiled, if they are."""
    _stacked: dict[tuple[int, ...], tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def lean(self, num_frames: int) -> list[Adapter]:
        """The savings of a run for a clip of so many frames, compiled if blocks are.

        They come behind all that controls it.

        Branches of guidance are the same clip with the same detail guidance at the same pace, and
        differ in nothing but their contexts.
        """
        seen = min(num_frames, self.trained_frames)
        made = unet3d_adapters(self.savings, seen)
        made = [SharedContexts(), *made] if self.savings.text else made
        if self.compiling is None:
            return made
        return [CompiledBlocks(self.compiling, made, (self.savings, seen))]

    def predict(self, z_t: Tensor, timestep: Tensor, call: Call = EXACT_CALL) -> Tensor:
        """The guided prediction for `z_t` (1 c f h w).

        With a `call` that is not guided, that of the full branch.
        """
        count = len(self.conditions.branches)
        asked = tuple(range(count)) if call.guided else (count - 1,)
        groups = [(n,) for n in asked] if self.sequential_guidance else [asked]
        seen = torch.cat([self._seen(group, z_t, timestep, call.reuses) for group in groups])
        *others, full = torch.unbind(seen.unsqueeze(1))
        settings = self.settings
        if not others:
            return full
        if len(others) > 1:
            scales = (settings.image_guidance_scale, settings.guidance_scale)
            guided = multi_condition_guidance(others[0], others[1], full, *scales)
        else:
            guided = classifier_free_guidance(others[0], full, settings.guidance_scale)
        return rescale_guidance(guided, full, settings.guidance_rescale)

    def _seen(self, group: tuple[int, ...], z_t: Tensor, timestep: Tensor, reuses: bool) -> Tensor:
        """Predictions (g c f h w) under some branches, of long clips window by window."""
        detail, pace = self.conditions.detail, self.conditions.pace

        def seen(frames: slice) -> Tensor:
            part = z_t[:, :, frames]
            if detail is not None:
                part = concatenated(part, detail[:, :, frames])
            text, image = self._contexts(group, part.shape[2])
            keys = [(branch, frames.start) for branch in group]
            with nullcontext() if self.reuse is None else self.reuse.call(keys, reuses=reuses):
                prediction: Tensor = self.unet(
                    part.expand(len(group), -1, -1, -1, -1),
                    timestep,
                    text,
                    image_tokens=image,
                    motion=None if pace is None else pace.expand(len(group)),
                    return_dict=False,
                )[0]
            return prediction

        return blended(z_t.shape[2], self.trained_frames, -3, seen)

    def _contexts(self, group: tuple[int, ...], num_frames: int) -> tuple[Tensor, Tensor | None]:
        """Text (g n d) and image tokens (g f m d): the same tensors at every step.

        The network projects what it has seen before only once (`cached_context`).
        """
        key = (num_frames, *group)
        if key not in self._stacked:
            branches = [self.conditions.branches[n] for n in group]
            images = [resampled(b.image, num_frames) for b in branches if b.image is not None]
            text = torch.cat([branch.text for branch in branches])
            self._stacked[key] = (text, torch.cat(images) if images else None)
        return self._stacked[key]


def sample_clip(
    denoiser: Denoiser,
    start: Tensor,
    fresh_noise: Callable[[], Tensor],
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """z_0 of a clip (1 c f h w) from its first latents `start` of that shape.

    `fresh_noise` gives standard normal noise of that shape for each step with eta above 0.
    `on_step` is called after every step with its index and what the network takes z_0 to be.
    """
    scheduler, eta = denoiser.scheduler, denoiser.settings.eta
    z = start
    unet, speed, compiling = denoiser.unet, denoiser.speed, denoiser.compiling
    overwritten = compiling is not None and compiling.uses_graphs
    reuse = [FeatureReuse(speed.kept_skips, copies=overwritten)] if speed.reuses else []
    denoiser = replace(denoiser, reuse=reuse[0] if reuse else None)
    guided = len(denoiser.conditions.branches) > 1
    calls = call_plan(speed, [1] * len(scheduler.timesteps), guided=guided)
    scaled = gates_scaled(unet, denoiser.settings.gate_scales)
    lean = denoiser.lean(z.shape[2])
    # What is kept from call to call is no part of a graph: contexts are projected in it.
    cached = unet.cached_context() if compiling is None else nullcontext()
    with scaled, cached, adapted(unet, [*lean, *reuse]):
        for index, timestep in enumerate(scheduler.timesteps):
            prediction = denoiser.predict(z, timestep, calls[index])
            noise = fresh_noise() if eta > 0 else None
            if on_step is not None:
                on_step(index, scheduler.predicted_clean(prediction, index, z))
            z = scheduler.step(prediction, index, z, eta=eta, noise=noise).prev_sample
    return z
