"""Photographs (appendix C.3): latents of every noise level for a picture that was not drawn.

Shapes: a clean latent 1 c h w; a trajectory (s+1 c h w) holds z_T first and z_0 last, for s steps,
in the scheduler's own scaling, as everywhere in AnimateZero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_schedulers import sampled_alpha_bars
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.diffusion.inversion import ddim_inversion_step
from stillmotion.diffusion.parameterization import check_prediction_type, noise_estimate
from stillmotion.errors import InputError, ModelError
from stillmotion.media.fit import FitMode

Trajectory = Literal["inversion", "diffusion"]
FirstFrame = Literal["photograph", "reconstruction"]
MAX_REFINEMENTS = 20


@dataclass(frozen=True, kw_only=True)
class PhotographSettings:
    """How a photograph becomes a still.  Raises InputError for an unknown value."""

    trajectory: Trajectory = "diffusion"
    """Its latents by DDIM inversion, without guidance, or by adding one fixed noise."""
    first_frame: FirstFrame = "photograph"
    """Frame 1 of the clip: the photograph's own pixels, or what the VAE makes of them."""
    fit: FitMode = "cover"
    """How it comes to a size that the model takes: cut, or with its edge drawn out."""
    refinements: int = 0
    """Inversion: how often each step is taken again with the noise predicted for its result."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; it can be {', '.join(map(repr, allowed))}."
                )
        whole = isinstance(self.refinements, int) and not isinstance(self.refinements, bool)
        if not (whole and 0 <= self.refinements <= MAX_REFINEMENTS):
            raise InputError(
                f"refinements is {self.refinements!r}; give a whole number from 0 to "
                f"{MAX_REFINEMENTS}."
            )

    def num_predictions(self, num_steps: int) -> int:
        """How often the U-Net is called to make a trajectory of `num_steps` steps."""
        return num_steps * (1 + self.refinements) if self.trajectory == "inversion" else 0


_CHOICES: dict[str, tuple[Any, ...]] = {
    "trajectory": get_args(Trajectory),
    "first_frame": get_args(FirstFrame),
    "fit": get_args(FitMode),
}


@dataclass(frozen=True)
class NoiseLevels:
    """What a scheduler's latents are: `scale` times √ᾱ z_0 + √(1 − ᾱ) ε, at each timestep.

    `scale` is 1 for DDIM and others that keep the variance, and √(1 + σ²) for those that count
    in σ, such as Euler.  float32 (n), on the device of the timesteps.
    """

    alpha_bars: Tensor
    scale: Tensor


def noise_levels(scheduler: Any, timesteps: Tensor) -> NoiseLevels:
    """The noise levels of `timesteps` (n), read off what the scheduler makes of signal and noise.

    Raises ModelError for a scheduler that cannot add noise to a clean latent.
    """
    if not hasattr(scheduler, "add_noise"):
        raise ModelError(
            f"the scheduler {type(scheduler).__name__} cannot add noise to a picture; use one of "
            "Stable Diffusion's, such as DDIM"
        )
    one = torch.ones_like(timesteps, dtype=torch.float32)
    nothing = torch.zeros_like(one)
    signal: Tensor = scheduler.add_noise(one, nothing, timesteps)
    deviation: Tensor = scheduler.add_noise(nothing, one, timesteps)
    scale = torch.hypot(signal, deviation)
    return NoiseLevels(alpha_bars=(signal / scale).square(), scale=scale)


def invert(
    denoiser: Denoiser,
    z_0: Tensor,
    *,
    refinements: int = 0,
    on_prediction: Callable[[], None] | None = None,
) -> Tensor:
    """DDIM inversion with the image model: `z_0` (1 c h w) -> trajectory (s+1 c h w).

    `denoiser` has one row, as for drawing a still.  Its prompt and timesteps are used, but no
    guidance: denoising the result in the same way leads back to `z_0`, the nearer the more steps
    or `refinements` there are.  Each step predicts the noise 1 + `refinements` times, and
    `on_prediction` is called after each.  With a scheduler other than DDIM the way is still
    DDIM's, on that scheduler's timesteps and in its scaling.  Raises ModelError if the scheduler
    cannot add noise, or its model predicts something unknown.
    """
    scheduler = denoiser.scheduler
    check_prediction_type(scheduler.config.prediction_type)
    levels = noise_levels(scheduler, scheduler.timesteps)
    # Half precision would round off what a step adds to the latent.
    z = z_0.to(torch.promote_types(z_0.dtype, torch.float32))
    end = sampled_alpha_bars(scheduler)[-1:].to(levels.alpha_bars)
    alpha_bars = torch.cat([levels.alpha_bars, end]).to(z)
    path = [z]
    with adapted(denoiser.unet, denoiser.still_adapters()):
        steps = zip(scheduler.timesteps, pairwise(alpha_bars), strict=True)
        for timestep, (bar_t, bar_prev) in reversed(list(steps)):
            z_prev = z
            for _ in range(1 + refinements):
                noise = _predict_noise(denoiser, z, timestep, bar_t)
                z = ddim_inversion_step(z_prev, noise, bar_t, bar_prev)
                if on_prediction is not None:
                    on_prediction()
            path.append(z)
    scale = torch.cat([levels.scale, torch.ones_like(end)]).to(z)
    return (torch.cat(path[::-1]) * scale[:, None, None, None]).to(z_0.dtype)


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


def photograph_latents(
    denoiser: Denoiser,
    z_0: Tensor,
    noise: Tensor,
    settings: PhotographSettings,
    on_prediction: Callable[[], None] | None = None,
) -> Tensor:
    """The trajectory (s+1 c h w) of `z_0` (1 c h w) that `settings` ask for.

    `denoiser` and `on_prediction` as for `invert`; `noise` (1 c h w), standard normal, is used by
    direct diffusion alone.  Raises ModelError as `invert` does.
    """
    if settings.trajectory == "diffusion":
        return photograph_trajectory(denoiser.scheduler, z_0, noise)
    return invert(denoiser, z_0, refinements=settings.refinements, on_prediction=on_prediction)


class _KeptVariance:
    """The scheduler of latents that a network takes as they are."""

    @staticmethod
    def scale_model_input(sample: Tensor, timestep: Tensor) -> Tensor:
        return sample


def _predict_noise(denoiser: Denoiser, z: Tensor, timestep: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """ε as the image model sees it, unguided, in `z` (1 c h w) whose variance is kept."""
    halves = 1 + int(denoiser.uses_guidance)
    assert len(denoiser.prompt_embeds) == halves  # one row, that of the picture
    unguided = replace(
        denoiser,
        scheduler=_KeptVariance(),
        prompt_embeds=denoiser.prompt_embeds.chunk(halves)[-1],
        image_embeds=tuple(images.chunk(halves)[-1] for images in denoiser.image_embeds),
        uses_guidance=False,
    )
    rows = z.unsqueeze(2).to(denoiser.prompt_embeds.dtype)
    prediction = unguided.predict(rows, timestep).squeeze(2).to(z)
    kind = denoiser.scheduler.config.prediction_type
    return noise_estimate(z, prediction, alpha_bar_t, kind)
