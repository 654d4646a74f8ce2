"""Re-noising against golden runs, alone and inside a whole denoising run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_models import tiny_scheduler
from torch import Tensor, nn

from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.sampling import Hooks, Start, animate_latents, denoise
from stillmotion.animatezero.settings import AnimateZeroSettings, TimeTravel
from stillmotion.animatezero.time_travel import renoise
from stillmotion.diffusion.schedule import alphas_cumprod, linear_betas
from stillmotion.errors import InputError

TOY = {"alpha": 0.82, "beta": 0.3, "gamma": 0.07, "tau": 140.0}


@pytest.fixture
def numbers(golden: Path) -> dict[str, Tensor]:
    return load_file(golden / "animatezero" / "time_travel.safetensors")


class ToyUNet(nn.Module):
    """The closed form that the golden runs used in place of a network."""

    def __init__(self, numbers: dict[str, Tensor]) -> None:
        super().__init__()
        self.u, self.w = numbers["toy.u"].double(), numbers["toy.w"].double()

    def forward(self, x: Tensor, t: Tensor, **_: object) -> tuple[Tensor]:
        waves = TOY["beta"] * torch.sin(t / TOY["tau"]) * self.u
        return (TOY["alpha"] * x + waves + TOY["gamma"] * torch.tanh(x + self.w),)


def toy_denoiser(numbers: dict[str, Tensor], num_rows: int) -> Denoiser:
    scheduler = tiny_scheduler(set_alpha_to_one=False)
    scheduler.set_timesteps(25)
    return Denoiser(
        unet=ToyUNet(numbers),
        scheduler=scheduler,
        prompt_embeds=torch.zeros(num_rows, 1, 1),
        guidance_scale=1.0,
        uses_guidance=False,
        step_options={},
    )


RUNS = {
    "travel_S25_N1": None,
    "travel_S25_w10to19_N5": TimeTravel(),
    "travel_S25_w0to24_N2": TimeTravel(repeats=2, start=0, stop=25),
}


@pytest.mark.parametrize("run", RUNS)
def test_golden_runs_by_the_sampling_loop(run: str, numbers: dict[str, Tensor]) -> None:
    """The whole loop ends where the golden run does; its defaults are the paper's window."""
    noises = iter(numbers[f"{run}.noise"].double())
    x_t = numbers[f"{run}.x_T"].double()
    uses = []
    start = Start(noise=x_t, more_noise=lambda: next(noises))
    settings = AnimateZeroSettings(
        insert_latents=False, share_keys_values=False, window="off", time_travel=RUNS[run]
    )
    denoiser = toy_denoiser(numbers, x_t.shape[2])
    final = animate_latents(denoiser, start, settings, Hooks(lambda: uses.append(1)))
    assert (final - numbers[f"{run}.final"]).abs().max() < 1e-4
    assert len(uses) == sum(kind == 0 for _, _, kind in numbers[f"{run}.events"].tolist())
    assert next(noises, None) is None


def test_windows_count_in_steps_or_shares() -> None:
    assert TimeTravel().times(25) == [1] * 10 + [5] * 10 + [1] * 5
    assert TimeTravel().times(50) == [1] * 20 + [5] * 20 + [1] * 10
    assert TimeTravel(repeats=2, start=1, stop=99).times(4) == [1, 2, 2, 2]
    assert TimeTravel(start=0.0, stop=1.0).times(3) == [5, 5, 5]


@pytest.mark.parametrize(
    "values", [{"repeats": 0}, {"start": -1}, {"stop": 1.5}, {"start": float("nan")}]
)
def test_nonsense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="time_travel"):
        TimeTravel(**values)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(InputError, match="none of the 10 steps"):
        TimeTravel(start=12, stop=20).times(10)


@pytest.mark.parametrize("run", RUNS)
def test_golden_runs(run: str, numbers: dict[str, Tensor]) -> None:
    """`denoise` (Eq. 10) and `renoise` (Eq. 11) in the order of the events of the run."""
    denoiser = toy_denoiser(numbers, numbers[f"{run}.x_T"].shape[2])
    scheduler = denoiser.scheduler
    assert torch.equal(scheduler.timesteps, numbers[f"{run}.timesteps"])
    bars = alphas_cumprod(linear_betas())
    prev = [*scheduler.timesteps[1:].tolist(), 0]
    noises = iter(numbers[f"{run}.noise"].double())
    x = numbers[f"{run}.x_T"].double()
    events = numbers[f"{run}.events"].tolist()
    for (step, _, kind), expected in zip(events, numbers[f"{run}.x"], strict=True):
        t = scheduler.timesteps[step]
        if kind == 0:
            x, _ = denoise(denoiser, x, t)
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
