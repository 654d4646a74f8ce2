"""The two denoising loops: drawing a still, and animating it.

Shapes: latents b c f h w with b = 1, one clip at a time.  Kernels round differently for different
batch sizes, so this is what makes a result independent of what else was asked for.  A trajectory
(s+1 c h w) holds z_T first and z_0 last, for s steps, in the scheduler's own scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.diffusers_schedulers import sampled_alpha_bars
from stillmotion.adapters.v1_norm import AcrossFramesResnetNorm
from stillmotion.animatezero.anchors import Anchor, Anchors, DrawnAnchor
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.time_travel import renoise
from stillmotion.animatezero.windows import EndBlend
from stillmotion.diffusion.noise import correlated_noise
from stillmotion.diffusion.speed import EXACT_CALL, Call


@dataclass(frozen=True)
class Step:
    """A sampling step that was made, as hooks see it."""

    index: int
    timestep: Tensor
    latents: Tensor
    """z_{t−1} (1 c f h w)."""
    z_t: Tensor
    prediction: Tensor
    """What the network said at z_t, guided."""


@dataclass(frozen=True)
class Hooks:
    """Who follows the sampling."""

    denoised: Callable[[], None]
    """Called after every use of the network."""
    on_step: Callable[[Step], Tensor] | None = None
    """Called after every step with it; returns the latents to go on with."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What the frames of a clip start from."""

    noise: Tensor
    """Standard normal (1 c f h w)."""
    more_noise: Callable[[], Tensor]
    """As much again, for time travel."""
    anchors: Sequence[Anchor | DrawnAnchor] = ()
    """Frame 1 if it is given or drawn beside, then the last frame if that is given too."""
    keeps_colours: bool = True
    """Whether nothing asks for other colours than those of the anchors, see `level_colours`."""
    norms_across_frames: bool = False
    """Whether the motion modules are AnimateDiff v1's, see `AcrossFramesResnetNorm`."""


def denoise(
    denoiser: Denoiser,
    z_t: Tensor,
    timestep: Tensor,
    reference: Tensor | None = None,
    call: Call = EXACT_CALL,
) -> tuple[Tensor, Tensor]:
    """One denoising step of all frames: Z_{t−1} = Denoiser(Z_t, t_prompt, t).

    Equation: AnimateZero Eq. 10

    `z_t` (1 c f h w) -> z_{t−1} and the network's guided prediction, both of the same shape;
    `reference` and `call` as in `Denoiser.predict`.
    """
    prediction = denoiser.predict(z_t, timestep, reference, call)
    return denoiser.step(prediction, timestep, z_t), prediction


def draw_trajectory(denoiser: Denoiser, noise: Tensor, hooks: Hooks) -> Tensor:
    """Text to image with the motion modules bypassed: `noise` (1 c h w) -> (s+1 c h w)."""
    z = noise.unsqueeze(2) * denoiser.scheduler.init_noise_sigma
    trajectory = [z]
    denoiser = denoiser.with_reuse()
    calls = denoiser.calls([1] * len(denoiser.scheduler.timesteps))
    with adapted(denoiser.unet, [*denoiser.still_adapters(), *_reuse(denoiser)]):
        for index, timestep in enumerate(denoiser.scheduler.timesteps):
            z_t = z
            z, prediction = denoise(denoiser, z_t, timestep, call=calls[index])
            hooks.denoised()
            if hooks.on_step is not None:
                z = hooks.on_step(Step(index, timestep, z, z_t, prediction))
            trajectory.append(z)
    return torch.cat(trajectory).squeeze(2)


def animate_latents(
    denoiser: Denoiser, start: Start, settings: AnimateZeroSettings, hooks: Hooks
) -> Tensor:
    """Image to video (Fig. 3, step 2): z_0 of all frames (1 c f h w).

    Anchors are needed if `settings.needs_trajectory`.  With inserted latents they are in their
    frames before every call of the U-Net and after the last, so these frames end as their z_0.
    """
    num_frames = start.noise.shape[2]
    anchors = Anchors(start.anchors, settings)
    context = FrameContext(num_frames=num_frames, num_reference_rows=anchors.num_references)
    ends = EndBlend(num_frames) if anchors.has_both_ends else None
    timesteps = denoiser.scheduler.timesteps
    bars = sampled_alpha_bars(denoiser.scheduler) if settings.time_travel else None
    z = anchors.insert(start.noise * denoiser.scheduler.init_noise_sigma, 0)
    # The given frames are part of the chain where noise is shared.
    z = anchors.insert(correlated_noise(z, settings.noise_correlation), 0)
    adapters = control_adapters(settings, context, ends, every_attention=denoiser.savings.motion)
    if start.norms_across_frames:
        adapters.append(AcrossFramesResnetNorm(context))
    adapters += denoiser.lean(context)
    form = (settings, context, ends is not None, start.norms_across_frames)
    adapters = denoiser.compiled(adapters, form)
    denoiser, denoisings = denoiser.with_reuse(), settings.denoisings(len(timesteps))
    calls = iter(denoiser.calls(denoisings))
    with adapted(denoiser.unet, [*adapters, *_reuse(denoiser)]):
        for index, times in enumerate(denoisings):
            timestep, reference = timesteps[index], anchors.references(index)
            for left in reversed(range(times)):
                z_t = z
                rows = anchors.with_drawn(z_t, index)
                rows, prediction = denoise(denoiser, rows, timestep, reference, next(calls))
                hooks.denoised()
                z = anchors.without_drawn(rows, index + 1)
                z = anchors.correct(z, index + 1)
                if start.keeps_colours and index + 1 == len(timesteps):
                    z = anchors.level(z, index + 1)
                z = anchors.insert(z, index + 1)
                if left and bars is not None:
                    fresh = correlated_noise(start.more_noise(), settings.noise_correlation)
                    back = renoise(z, fresh, bars[index], bars[index + 1])
                    z = anchors.insert(back, index)
            if hooks.on_step is not None:
                said = prediction[:, :, -num_frames:]
                replaced = hooks.on_step(Step(index, timestep, z, z_t, said))
                z = z if replaced is z else anchors.insert(replaced, index + 1)
    return z


def _reuse(denoiser: Denoiser) -> list[Adapter]:
    """What lets the U-Net use deep features again, if the denoiser does."""
    return [] if denoiser.reuse is None else [denoiser.reuse]
