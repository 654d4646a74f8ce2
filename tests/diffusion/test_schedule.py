"""Schedules against the golden tables, and the forward process against its formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from stillmotion.diffusion.schedule import (
    alphas_cumprod,
    interval_alpha,
    linear_betas,
    q_sample,
    scaled_linear_betas,
)

TABLES = [("linear_S25", linear_betas), ("scaled_linear_S50", scaled_linear_betas)]


@pytest.mark.parametrize(("name", "betas"), TABLES)
def test_alphas_cumprod_matches_golden(name: str, betas, golden: Path) -> None:
    tables = load_file(golden / "animatezero" / "time_travel.safetensors")
    error = (alphas_cumprod(betas()) - tables[f"{name}.alphas_cumprod_1000"]).abs().max()
    assert error < 1e-6


@pytest.mark.parametrize(("name", "betas"), TABLES)
def test_interval_alpha_matches_golden(name: str, betas, golden: Path) -> None:
    tables = load_file(golden / "animatezero" / "time_travel.safetensors")
    bars = alphas_cumprod(betas())
    timesteps = tables[f"{name}.timesteps"]
    bars_t, bars_prev = bars[timesteps], torch.cat([bars[timesteps[1:]], bars[:1]])
    assert (bars_prev - tables[f"{name}.abar_prev"]).abs().max() < 1e-6
    alpha = interval_alpha(bars_t, bars_prev)
    assert (alpha - tables[f"{name}.interval_alpha"]).abs().max() < 1e-6
    assert (alpha.sqrt() - tables[f"{name}.renoise_coef_x"]).abs().max() < 1e-6
    assert ((1 - alpha).sqrt() - tables[f"{name}.renoise_coef_noise"]).abs().max() < 1e-6


def test_schedules_are_those_of_diffusers() -> None:
    for name, betas in (("linear", linear_betas), ("scaled_linear", scaled_linear_betas)):
        theirs = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=name)
        assert (alphas_cumprod(betas()) - theirs.alphas_cumprod).abs().max() < 1e-6


def test_q_sample_is_the_scheduler_s_forward_process() -> None:
    generator = torch.Generator().manual_seed(0)
    z_0, noise = torch.randn((2, 3, 4, 2, 2), generator=generator)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear")
    for t in (0, 501, 999):
        theirs = scheduler.add_noise(z_0, noise, torch.tensor([t]))
        assert (q_sample(z_0, noise, scheduler.alphas_cumprod[t]) - theirs).abs().max() < 1e-6


def test_q_sample_ends() -> None:
    z_0, noise = torch.ones(2), torch.full((2,), 5.0)
    assert torch.equal(q_sample(z_0, noise, 1.0), z_0)
    assert torch.equal(q_sample(z_0, noise, 0.0), noise)
