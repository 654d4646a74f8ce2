"""DDIM inversion and the kinds of prediction, against their formulas and against diffusers."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from stillmotion.diffusion.inversion import ddim_inversion_step
from stillmotion.diffusion.parameterization import (
    clean_estimate,
    clean_from_velocity,
    epsilon_from_velocity,
    noise_estimate,
    velocity,
)
from stillmotion.diffusion.schedule import q_sample
from stillmotion.errors import ModelError

KINDS = ("epsilon", "v_prediction", "sample")
BARS = ((0.5, 0.7), (0.01, 0.2), (0.998, 1.0), (0.0, 0.1))


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """A clean latent and noise, float64."""
    generator = torch.Generator().manual_seed(0)
    z_0, noise = torch.randn((2, 2, 3, 4, 4), generator=generator, dtype=torch.float64)
    return z_0, noise


def prediction_of(kind: str, z_0: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    return {"epsilon": noise, "sample": z_0, "v_prediction": velocity(z_0, noise, alpha_bar)}[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha_bar", [0.002, 0.5, 0.999])
def test_every_kind_of_prediction_stands_for_both_parts(
    kind: str, alpha_bar: float, pair: tuple[Tensor, Tensor]
) -> None:
    z_0, noise = pair
    z_t = q_sample(z_0, noise, alpha_bar)
    prediction = prediction_of(kind, z_0, noise, alpha_bar)
    assert (clean_estimate(z_t, prediction, alpha_bar, kind) - z_0).abs().max() < 1e-12
    assert (noise_estimate(z_t, prediction, alpha_bar, kind) - noise).abs().max() < 1e-12


@pytest.mark.parametrize("alpha_bar", [0.0, 0.3, 1.0])
def test_velocity_is_taken_apart_at_the_ends_too(
    alpha_bar: float, pair: tuple[Tensor, Tensor]
) -> None:
    z_0, noise = pair
    z_t, v = q_sample(z_0, noise, alpha_bar), velocity(z_0, noise, alpha_bar)
    assert (clean_from_velocity(z_t, v, alpha_bar) - z_0).abs().max() < 1e-12
    assert (epsilon_from_velocity(z_t, v, alpha_bar) - noise).abs().max() < 1e-12


def test_alpha_bars_are_broadcast(pair: tuple[Tensor, Tensor]) -> None:
    z_0, noise = pair
    bars = torch.tensor([0.2, 0.9], dtype=torch.float64).reshape(2, 1, 1, 1)
    z_t = q_sample(z_0, noise, bars)
    assert (clean_estimate(z_t, noise, bars, "epsilon") - z_0).abs().max() < 1e-12
    assert (noise_estimate(z_t, z_0, bars, "sample") - noise).abs().max() < 1e-12


def test_an_unknown_prediction_is_told(pair: tuple[Tensor, Tensor]) -> None:
    for estimate in (clean_estimate, noise_estimate):
        with pytest.raises(ModelError, match="'flow'; it can be epsilon, v_prediction, sample"):
            estimate(*pair, 0.5, "flow")


@pytest.mark.parametrize(("bar_t", "bar_prev"), BARS)
def test_a_step_is_the_plain_formula(
    bar_t: float, bar_prev: float, pair: tuple[Tensor, Tensor]
) -> None:
    z_prev, noise = pair
    expected = torch.empty_like(z_prev)
    for place in range(z_prev.numel()):
        z, e = float(z_prev.flatten()[place]), float(noise.flatten()[place])
        clean = (z - math.sqrt(1 - bar_prev) * e) / math.sqrt(bar_prev)
        expected.view(-1)[place] = math.sqrt(bar_t) * clean + math.sqrt(1 - bar_t) * e
    assert (ddim_inversion_step(z_prev, noise, bar_t, bar_prev) - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("bar_t", "bar_prev"), BARS)
def test_a_step_stays_on_the_path_of_its_noise(
    bar_t: float, bar_prev: float, pair: tuple[Tensor, Tensor]
) -> None:
    z_0, noise = pair
    z_t = ddim_inversion_step(q_sample(z_0, noise, bar_prev), noise, bar_t, bar_prev)
    assert (z_t - q_sample(z_0, noise, bar_t)).abs().max() < 1e-12


def test_no_interval_is_no_step(pair: tuple[Tensor, Tensor]) -> None:
    z, noise = pair
    assert (ddim_inversion_step(z, noise, 0.4, 0.4) - z).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_it_undoes_the_scheduler_s_own_step(kind: str, pair: tuple[Tensor, Tensor]) -> None:
    """With the noise predicted for z_t, the step back is exact: every step of a schedule of 25."""
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False,
        steps_offset=1, prediction_type=kind,
    )  # fmt: skip
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(25)
    z_t, prediction = pair
    bars = [float(scheduler.alphas_cumprod[t]) for t in scheduler.timesteps] + [1.0]
    for index, timestep in enumerate(scheduler.timesteps):
        z_prev = scheduler.step(prediction, timestep, z_t).prev_sample
        noise = noise_estimate(z_t, prediction, bars[index], kind)
        back = ddim_inversion_step(z_prev, noise, bars[index], bars[index + 1])
        assert (back - z_t).abs().max() < 1e-10, int(timestep)
