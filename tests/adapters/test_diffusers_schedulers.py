"""The facts about diffusers' schedulers that adapters/diffusers_schedulers.py rests on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from tests.tiny_models import tiny_scheduler
from torch import Tensor

from stillmotion.adapters.diffusers_schedulers import (
    check_repeatable,
    draws_no_noise,
    sampled_alpha_bars,
)
from stillmotion.errors import ModelError

STEPS = 5


def timed(scheduler: Any) -> Any:
    scheduler.set_timesteps(STEPS)
    return scheduler


def random(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 4, 2, 3, 3), generator=generator, dtype=torch.float64)


def check_shape(bars: Tensor) -> None:
    assert bars.shape == (STEPS + 1,)
    assert bars.dtype == torch.float64
    assert bars.diff().min() > 0


@pytest.mark.parametrize("set_alpha_to_one", [True, False])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_steps_between_these_noise_levels(set_alpha_to_one: bool, spacing: str) -> None:
    """What a step makes of a known signal and noise has their shares at the next level."""
    scheduler = timed(tiny_scheduler(set_alpha_to_one=set_alpha_to_one, timestep_spacing=spacing))
    bars = sampled_alpha_bars(scheduler)
    check_shape(bars)
    assert torch.equal(bars[:-1], scheduler.alphas_cumprod[scheduler.timesteps].double())
    assert bars[-1] == (1.0 if set_alpha_to_one else scheduler.alphas_cumprod[0].item())
    signal, noise = random(0), random(1)
    path = [bar.sqrt() * signal + (1 - bar).sqrt() * noise for bar in bars]
    for timestep, z_t, z_prev in zip(scheduler.timesteps, path, path[1:], strict=False):
        stepped = scheduler.step(noise, timestep, z_t).prev_sample
        assert (stepped - z_prev).abs().max() < 1e-5


def test_ddpm_ends_without_noise() -> None:
    scheduler = timed(DDPMScheduler(beta_schedule="linear"))
    bars = sampled_alpha_bars(scheduler)
    check_shape(bars)
    assert torch.equal(bars[:-1], scheduler.alphas_cumprod[scheduler.timesteps].double())
    assert bars[-1] == 1


def test_euler_counts_in_sigmas() -> None:
    """ᾱ = 1 / (1 + σ²); its timesteps have fractions, which are left out here."""
    scheduler = timed(EulerDiscreteScheduler(beta_schedule="linear"))
    bars = sampled_alpha_bars(scheduler)
    check_shape(bars)
    assert (bars - 1 / (1 + scheduler.sigmas.double() ** 2)).abs().max() < 3e-3
    assert bars[-1] == 1


@pytest.mark.parametrize("scheduler", [tiny_scheduler(), DDPMScheduler()], ids=["DDIM", "DDPM"])
def test_steps_that_depend_on_nothing_before_can_be_repeated(scheduler: Any) -> None:
    check_repeatable(scheduler, "time travel")
    timed(scheduler)
    check_repeatable(scheduler, "time travel")
    timestep = scheduler.timesteps[1]

    def step() -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return scheduler.step(random(1), timestep, random(0), generator=generator).prev_sample

    once = step()
    scheduler.step(random(4), scheduler.timesteps[2], random(5))
    assert torch.equal(step(), once)


@pytest.mark.parametrize(
    "scheduler",
    [
        EulerDiscreteScheduler(),
        EulerAncestralDiscreteScheduler(),
        DPMSolverMultistepScheduler(),
        HeunDiscreteScheduler(),
        PNDMScheduler(skip_prk_steps=True),
        UniPCMultistepScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_schedulers_with_a_memory_are_refused(scheduler: Any) -> None:
    name = type(scheduler).__name__
    with pytest.raises(ModelError, match=rf"time travel needs .*DDIMScheduler.*has {name}\."):
        check_repeatable(scheduler, "time travel")


@pytest.mark.parametrize(
    "scheduler",
    [
        tiny_scheduler(),
        EulerDiscreteScheduler(),
        DPMSolverMultistepScheduler(),
        DEISMultistepScheduler(),
        PNDMScheduler(skip_prk_steps=True),
        UniPCMultistepScheduler(),
        DDPMScheduler(),
        EulerAncestralDiscreteScheduler(),
        DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
    ],
    ids=lambda scheduler: f"{type(scheduler).__name__} {scheduler.config.get('algorithm_type')}",
)
def test_what_is_known_to_draw_no_noise_draws_none(scheduler: Any) -> None:
    timed(scheduler)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    takes = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes else {}
    z = random(0)
    for timestep in scheduler.timesteps[:3]:
        scaled = scheduler.scale_model_input(z, timestep)
        z = scheduler.step(0.1 * scaled, timestep, z, **options).prev_sample
    assert torch.equal(generator.get_state(), before) == draws_no_noise(scheduler)
