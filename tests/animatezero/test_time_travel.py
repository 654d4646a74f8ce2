"""Re-noising against golden runs, alone and inside a whole denoising run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_models import tiny_scheduler
from torch import Tensor

from stillmotion.animatezero.sampling import Denoiser, denoise
from stillmotion.animatezero.time_travel import renoise
from stillmotion.diffusion.schedule import alphas_cumprod, linear_betas

TOY = {"alpha": 0.82, "beta": 0.3, "gamma": 0.07, "tau": 140.0}


@pytest.fixture
def numbers(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "animatezero" / "time_travel.safetensors")


class ToyUNet:
    """The closed form that the golden runs used in place of a network."""

    def __init__(self, numbers: dict[str, Tensor]) -> None:
        self.u, self.w = numbers["toy.u"].double(), numbers["toy.w"].double()

    def __call__(self, x: Tensor, t: Tensor, **_: object) -> tuple[Tensor]:
        waves = TOY["beta"] * torch.sin(t / TOY["tau"]) * self.u
        return (TOY["alpha"] * x + waves + TOY["gamma"] * torch.tanh(x + self.w),)


@pytest.mark.parametrize("run", ["travel_S25_N1", "travel_S25_w10to19_N5", "travel_S25_w0to24_N2"])
def test_golden_runs(run: str, numbers: dict[str, Tensor]) -> None:
    """`denoise` (Eq. 10) and `renoise` (Eq. 11) in the order of the events of the run."""
    scheduler = tiny_scheduler(set_alpha_to_one=False)
    scheduler.set_timesteps(25)
    assert torch.equal(scheduler.timesteps, numbers[f"{run}.timesteps"])
    denoiser = Denoiser(
        unet=ToyUNet(numbers),
        scheduler=scheduler,
        prompt_embeds=torch.zeros(()),
        guidance_scale=1.0,
        uses_guidance=False,
        step_options={},
    )
    bars = alphas_cumprod(linear_betas())
    prev = [*scheduler.timesteps[1:].tolist(), 0]
    noises = iter(numbers[f"{run}.noise"].double())
    x = numbers[f"{run}.x_T"].double()
    events = numbers[f"{run}.events"].tolist()
    for (step, _, kind), expected in zip(events, numbers[f"{run}.x"], strict=True):
        t = scheduler.timesteps[step]
        if kind == 0:
            x = denoise(denoiser, x, t)
        else:
            x = renoise(x, next(noises), bars[t], bars[prev[step]])
        assert (x - expected).abs().max() < 1e-4, f"step {step}"
    assert (x - numbers[f"{run}.final"]).abs().max() < 1e-4


def test_renoise_keeps_the_marginal_variance() -> None:
    """From √ᾱ_prev z_0 + √(1 − ᾱ_prev) ε it leads to the distribution of z_t exactly."""
    bars = alphas_cumprod(linear_betas())
    bar_t, bar_prev = bars[601], bars[561]
    one = torch.ones((), dtype=torch.float64)
    signal = renoise(bar_prev.sqrt() * one, 0 * one, bar_t, bar_prev)
    from_before = renoise((1 - bar_prev).sqrt() * one, 0 * one, bar_t, bar_prev)
    fresh = renoise(0 * one, one, bar_t, bar_prev)
    assert torch.allclose(signal, bar_t.sqrt())
    assert torch.allclose(from_before**2 + fresh**2, 1 - bar_t)


def test_renoise_over_an_empty_interval_does_nothing() -> None:
    z, noise = torch.ones(2, 3), torch.full((2, 3), 9.0)
    bar = torch.tensor(0.4)
    assert torch.equal(renoise(z, noise, bar, bar), z)
