"""DynamiCrafter's noise schedule: its DDIM sampler and its training targets.

Symbols: ᾱ_t as in `diffusion.schedule`, c_t the scale of `diffusion.dynamic_rescale`, 1 without.
The official sampler's numbers are met (commit c453369); where it goes wrong, this one does not:

* Any number of steps gives a table of as many.  "uniform" there is "leading" here, and at most
  counts visits more timesteps than asked for: 16 are range(993, 0, -62), 30 are
  range(991, 0, -33).  Given as `timesteps`, such a table is sampled exactly.
* The share of the predicted noise is never the root of a negative number (NaN, a black video).
* The last step ends at timestep 0, where c_0 = 1; there it keeps the last timestep's c_t, and the
  result stays scaled, the more the fewer steps.  `undo_final_rescale=False` does so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from stillmotion.adapters.diffusers_schedulers import sampled_alpha_bars
from stillmotion.diffusion.ddim import ddim_deviation, ddim_step
from stillmotion.diffusion.dynamic_rescale import dynamic_scales
from stillmotion.diffusion.parameterization import (
    PredictionType,
    check_prediction_type,
    clean_estimate,
    noise_estimate,
    velocity,
)
from stillmotion.diffusion.schedule import (
    BETA_END,
    BETA_START,
    NUM_TRAIN_TIMESTEPS,
    alphas_cumprod,
    q_sample,
    q_sample_gaussian,
    scaled_linear_betas,
    zero_terminal_snr_betas,
)
from stillmotion.diffusion.timesteps import (
    TimestepSpacing,
    check_spacing,
    given_timesteps,
    spaced_timesteps,
)
from stillmotion.errors import InputError, ModelError


class StepOutput(NamedTuple):
    """What a sampling step gives, both (b c f h w)."""

    prev_sample: Tensor
    """z of the next, less noisy timestep."""
    pred_original_sample: Tensor
    """The predicted clean latent, with the next timestep's scale c (`predicted_clean`: without)."""


class DynamiCrafterScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """DDIM with zero terminal SNR and dynamic rescaling; saved as scheduler_config.json.

    It remembers nothing of earlier steps, so any step can be repeated.  Latents are b c f h w of
    any floating dtype; half precision is computed in float32.

    Args:
        num_train_timesteps: T, 2 or more.
        beta_start, beta_end: ends of the scaled linear schedule, 0 < start <= end < 1.
        prediction_type: what the network predicts, ε, v or z_0 by diffusers' names.
        zero_terminal_snr: whether ᾱ_{T−1} is 0; then the network cannot predict ε.
        rescale_base: c_t of the noisy timesteps, above 0 and at most 1; None for no rescaling.
        timestep_spacing: "leading" or "trailing".
        undo_final_rescale: whether the result is z_0 itself and not a multiple of it.

    Raises:
        ModelError: a value outside of these.
    """

    order = 1
    init_noise_sigma = 1.0

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = NUM_TRAIN_TIMESTEPS,
        beta_start: float = BETA_START,
        beta_end: float = BETA_END,
        prediction_type: PredictionType = "epsilon",
        zero_terminal_snr: bool = False,
        rescale_base: float | None = None,
        timestep_spacing: TimestepSpacing = "leading",
        undo_final_rescale: bool = True,
    ) -> None:
        _check_schedule(num_train_timesteps, beta_start, beta_end)
        check_prediction_type(prediction_type)
        check_spacing(timestep_spacing)
        if zero_terminal_snr and prediction_type == "epsilon":
            raise ModelError(
                "the model's scheduler says 'epsilon' and zero terminal SNR; where nothing of the "
                "signal is left the noise tells nothing of it: use v_prediction, or no zero SNR"
            )
        betas = scaled_linear_betas(num_train_timesteps, beta_start, beta_end)
        betas = zero_terminal_snr_betas(betas) if zero_terminal_snr else betas
        self.betas = betas.float()
        self.alphas_cumprod = alphas_cumprod(betas).float()
        self.final_alpha_cumprod = self.alphas_cumprod[0]
        base = 1.0 if rescale_base is None else rescale_base
        self.clean_scales = dynamic_scales(base, num_train_timesteps).float()
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        start: int | None = None,
        timesteps: Sequence[int] | Tensor | None = None,
    ) -> None:
        """Choose the timesteps to sample at: `timesteps`, int64 (s), descending, on `device`.

        `num_inference_steps` from 1 to T gives a table of exactly as many.  `start` spreads them
        over 0..start in place of 0..T−1: a later start leaves the given image less to leak at the
        noisy end, hence more motion (Zhao et al., arXiv:2406.15735; their M is start + 1).
        `timesteps` is a table of one's own instead.  Raises InputError for values outside of
        these, or if not exactly one of count and table is given.
        """
        span = int(self.config.num_train_timesteps)
        if (num_inference_steps is None) == (timesteps is None):
            raise InputError("Give either a number of sampling steps or the timesteps themselves.")
        if timesteps is not None and start is not None:
            raise InputError(f"Timesteps of one's own have a start; leave out start={start}.")
        if start is not None:
            if not 0 <= start < span:
                raise InputError(f"Sampling cannot start at timestep {start}; 0..{span - 1} can.")
            span = start + 1
        if timesteps is not None:
            table = given_timesteps(timesteps, span)
        else:
            assert num_inference_steps is not None
            table = spaced_timesteps(self.config.timestep_spacing, num_inference_steps, span)
        self.timesteps = table.to(device)
        # On the host, with the end of sampling as one entry more: no step waits for the device.
        self._bars: list[float] = sampled_alpha_bars(self).tolist()
        scales = self.clean_scales[table]
        end = self.clean_scales[0] if self.config.undo_final_rescale else scales[-1]
        self._scales: list[float] = [*scales.tolist(), float(end)]

    def step(
        self,
        prediction: Tensor,
        index: int,
        sample: Tensor,
        *,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> StepOutput:
        """From z_t at `timesteps[index]` to the next timestep, or after the last to the end.

        ẑ_0 c_prev / c_t and ε̂, as `prediction` has them, in the step of `diffusion.ddim`.
        `prediction`, `sample` z_t and `noise`, standard normal, have one shape; `noise` is needed
        if `eta`, 0..1, is above 0.  Raises InputError for values outside of these.
        """
        self._check(index, sample, prediction=prediction, noise=noise)
        bar_t, bar_prev = self._bars[index : index + 2]
        z_t, prediction = _precise(sample), _precise(prediction)
        clean = self.predicted_clean(prediction, index, z_t) * self._scales[index + 1]
        epsilon = noise_estimate(z_t, prediction, bar_t, self.config.prediction_type)
        deviation = ddim_deviation(bar_t, bar_prev, eta)
        fresh = None if noise is None else _precise(noise)
        z_prev = ddim_step(clean, epsilon, bar_prev, deviation, fresh)
        return StepOutput(z_prev.to(sample.dtype), clean.to(sample.dtype))

    def predicted_clean(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """ẑ_0 without any scale, for previews: what `prediction` for z_t = `sample` stands for.

        Shapes and errors as for `step`.
        """
        self._check(index, sample, prediction=prediction)
        kind = self.config.prediction_type
        scaled = clean_estimate(_precise(sample), _precise(prediction), self._bars[index], kind)
        return (scaled / self._scales[index]).to(sample.dtype)

    def analytic_start(self, noise: Tensor, mean: Tensor, variance: Tensor | float) -> Tensor:
        """z at the first timestep, of clips known by mean and variance: what `start` goes with.

        N(√ᾱ c m, 1 − ᾱ + ᾱ c² s²).  `noise` (b c f h w) standard normal; `mean` E[z_0] and
        `variance` tr(Cov[z_0]) / d, broadcast to it (Zhao et al., arXiv:2406.15735, whose code
        leaves out c).
        """
        scale = self._scales[0]
        z = q_sample_gaussian(
            _precise(noise), _precise(mean) * scale, variance * scale**2, self._bars[0]
        )
        return z.to(noise.dtype)

    def training_timesteps(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Timesteps to train at, uniform in 0..T−1: int64 (num_samples), the generator's device."""
        span = self.config.num_train_timesteps
        return torch.randint(span, (num_samples,), generator=generator, device=generator.device)

    def noised(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z_t = √ᾱ_t c_t z_0 + √(1 − ᾱ_t) ε, for training.

        `z_0` and `noise` (b c f h w), `timesteps` int64 (b).  Raises InputError for other shapes.
        """
        scaled, bars = self._scaled(z_0, noise, timesteps)
        return q_sample(scaled, _precise(noise), bars).to(z_0.dtype)

    def target(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network is to predict for `noised`: ε, v or z_0, of c_t z_0.

        Shapes and errors as for `noised`.
        """
        scaled, bars = self._scaled(z_0, noise, timesteps)
        kind = self.config.prediction_type
        if kind == "epsilon":
            return noise
        clean = scaled if kind == "sample" else velocity(scaled, _precise(noise), bars)
        return clean.to(z_0.dtype)

    def _scaled(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """c_t z_0 (b c f h w) and ᾱ_t (b 1 1 1 1)."""
        if noise.shape != z_0.shape or timesteps.shape != z_0.shape[:1]:
            raise InputError(
                f"Latents of shape {tuple(z_0.shape)} need noise of that shape and a timestep for "
                f"each sample; these have shapes {tuple(noise.shape)} and {tuple(timesteps.shape)}."
            )
        z_0 = _precise(z_0)
        each = (-1, *[1] * (z_0.ndim - 1))
        scales, bars = (
            table.to(z_0)[timesteps].reshape(each)
            for table in (self.clean_scales, self.alphas_cumprod)
        )
        return scales * z_0, bars

    def _check(self, index: int, sample: Tensor, **others: Tensor | None) -> None:
        if not 0 <= index < len(self.timesteps):
            raise InputError(
                f"There is no step {index}; the {len(self.timesteps)} steps that are set count "
                "from 0."
            )
        for name, other in others.items():
            if other is not None and other.shape != sample.shape:
                raise InputError(
                    f"The {name} has the shape {tuple(other.shape)}; it needs that of the sample, "
                    f"{tuple(sample.shape)}."
                )


def _precise(x: Tensor) -> Tensor:
    """float32 at least: near z_0 half precision cannot tell ᾱ from 1."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_schedule(num_timesteps: int, beta_start: float, beta_end: float) -> None:
    if num_timesteps < 2 or not 0 < beta_start <= beta_end < 1:
        raise ModelError(
            f"the model's scheduler has {num_timesteps} timesteps with betas from {beta_start} to "
            f"{beta_end}; it needs 2 timesteps or more and 0 < beta_start <= beta_end < 1"
        )
