"""The two denoising loops: drawing a still, and animating it.

Shapes: latents b c f h w with b = 1, one clip at a time.  Kernels round differently for different
batch sizes, so this is what makes a result independent of what else was asked for.  A trajectory
(s+1 c h w) holds z_T first and z_0 last, for s steps, in the scheduler's own scaling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.adapters.diffusers_sites import MotionBypass
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.spatial_control import insert_first_frame
from stillmotion.diffusion.guidance import classifier_free_guidance

OnStep = Callable[[int, Tensor, Tensor], Tensor]
"""Called with the step's index, its timestep and the latents after it; returns the latents."""


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """A U-Net with its prompt and scheduler.

    `scheduler` has its timesteps set and belongs to this run alone.  `prompt_embeds` ((g r) n d)
    has a row for each of the r rows of the U-Net's batch; g = 2 halves, unconditional first, if
    `uses_guidance`, else 1.
    """

    unet: Any
    scheduler: Any
    prompt_embeds: Tensor
    guidance_scale: float
    uses_guidance: bool
    step_options: Mapping[str, Any]

    def predict(self, z_t: Tensor, timestep: Tensor, reference: Tensor | None = None) -> Tensor:
        """The guided prediction for `z_t` (1 c f h w); `reference` (1 c 1 h w) runs beside it."""
        rows = z_t if reference is None else torch.cat([reference, z_t], dim=2)
        halves = torch.cat([rows, rows]) if self.uses_guidance else rows
        prediction: Tensor = self.unet(
            self.scheduler.scale_model_input(halves, timestep),
            timestep,
            encoder_hidden_states=self.prompt_embeds,
            return_dict=False,
        )[0]
        prediction = prediction[:, :, -z_t.shape[2] :]
        if not self.uses_guidance:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return classifier_free_guidance(unconditional, conditional, self.guidance_scale)

    def step(self, prediction: Tensor, timestep: Tensor, z_t: Tensor) -> Tensor:
        """The scheduler's step from `z_t` to z_{t−1}."""
        result: Tensor = self.scheduler.step(
            prediction, timestep, z_t, **self.step_options, return_dict=False
        )[0]
        return result


def denoise(
    denoiser: Denoiser, z_t: Tensor, timestep: Tensor, reference: Tensor | None = None
) -> Tensor:
    """One denoising step of all frames: Z_{t−1} = Denoiser(Z_t, t_prompt, t).

    Equation: AnimateZero Eq. 10

    `z_t` (1 c f h w) -> z_{t−1} of the same shape; `reference` as in `Denoiser.predict`.
    """
    return denoiser.step(denoiser.predict(z_t, timestep, reference), timestep, z_t)


def draw_trajectory(denoiser: Denoiser, noise: Tensor, on_step: OnStep) -> Tensor:
    """Text to image with the motion modules bypassed: `noise` (1 c h w) -> (s+1 c h w)."""
    z = noise.unsqueeze(2) * denoiser.scheduler.init_noise_sigma
    trajectory = [z]
    with adapted(denoiser.unet, [MotionBypass()]):
        for index, timestep in enumerate(denoiser.scheduler.timesteps):
            z = on_step(index, timestep, denoise(denoiser, z, timestep))
            trajectory.append(z)
    return torch.cat(trajectory).squeeze(2)


def animate_latents(
    denoiser: Denoiser,
    noise: Tensor,
    trajectory: Tensor | None,
    settings: AnimateZeroSettings,
    on_step: OnStep,
) -> Tensor:
    """Image to video (Fig. 3, step 2): `noise` (1 c f h w) -> z_0 of all frames.

    `trajectory` (s+1 c h w) is needed if `settings.needs_trajectory`.  With inserted latents it
    is in frame 1 before every call of the U-Net and after the last, so frame 1 ends as its z_0.
    """
    context = FrameContext(
        num_frames=noise.shape[2], num_reference_rows=int(settings.needs_reference_row)
    )

    def still_at(step: int) -> Tensor:
        assert trajectory is not None
        return trajectory[step : step + 1]

    def follow(latents: Tensor, step: int) -> Tensor:
        return insert_first_frame(latents, still_at(step)) if settings.insert_latents else latents

    z = follow(noise * denoiser.scheduler.init_noise_sigma, 0)
    with adapted(denoiser.unet, control_adapters(settings, context)):
        for index, timestep in enumerate(denoiser.scheduler.timesteps):
            reference = still_at(index).unsqueeze(2) if context.num_reference_rows else None
            z = follow(denoise(denoiser, z, timestep, reference), index + 1)
            replaced = on_step(index, timestep, z)
            z = z if replaced is z else follow(replaced, index + 1)
    return z


def photograph_trajectory(scheduler: Any, z_0: Tensor, noise: Tensor) -> Tensor:
    """Latents for a picture that was not drawn (C.3): z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε.

    One fixed ε for all t, so that the latents lie on one deterministic path from z_T to z_0.
    The scheduler adds the noise, since some scale latents differently.  `z_0`, `noise`
    (1 c h w) -> (s+1 c h w).
    """
    timesteps = scheduler.timesteps
    size = (len(timesteps), *z_0.shape[1:])
    noisy: Tensor = scheduler.add_noise(z_0.expand(size), noise.expand(size), timesteps)
    return torch.cat([noisy, z_0])
