"""Photographs: their latents lead back to them, whatever the scheduler."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)
from tests.tiny_models import tiny_scheduler, tiny_unet
from torch import Tensor

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_schedulers import sampled_alpha_bars
from stillmotion.adapters.diffusers_sites import MotionBypass
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.loading import load_model
from stillmotion.animatezero.photograph import (
    PhotographSettings,
    invert,
    noise_levels,
    photograph_latents,
    photograph_trajectory,
)
from stillmotion.diffusion.parameterization import velocity
from stillmotion.diffusion.schedule import q_sample
from stillmotion.errors import InputError, ModelError
from stillmotion.miniature.data import render_stills, to_model_range
from stillmotion.world.captions import caption
from stillmotion.world.scene import Fixed

LINEAR: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}
SPREAD = 0.5
SCHEDULERS = {
    "ddim": partial(DDIMScheduler, clip_sample=False, steps_offset=1, **LINEAR),
    "ddim-ends-above": partial(DDIMScheduler, set_alpha_to_one=False, **LINEAR),
    "ddim-linspace": partial(DDIMScheduler, timestep_spacing="linspace", **LINEAR),
    "pndm": partial(PNDMScheduler, skip_prk_steps=True, **LINEAR),
    "dpm++": partial(DPMSolverMultistepScheduler, **LINEAR),
    "euler": partial(EulerDiscreteScheduler, **LINEAR),
    "euler-karras": partial(EulerDiscreteScheduler, use_karras_sigmas=True, **LINEAR),
}


def make_denoiser(scheduler: Any, num_steps: int = 4, unet: Any = None) -> Denoiser:
    scheduler.set_timesteps(num_steps)
    words = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(5))
    return Denoiser(
        unet=unet or tiny_unet(), scheduler=scheduler, prompt_embeds=words, guidance_scale=1.0,
        uses_guidance=False, step_options={},
    )  # fmt: skip


def clean_latent(*shape: int) -> Tensor:
    return torch.randn(shape or (1, 4, 4, 4), generator=torch.Generator().manual_seed(6))


class GaussianUNet(torch.nn.Module):
    """The exact prediction for data that are normal with standard deviation `SPREAD`.

    Its deterministic path is known: z_t = z_0 times the standard deviation at t over that at 0.
    """

    def __init__(self, scheduler: Any) -> None:
        super().__init__()
        self.alpha_bars = scheduler.alphas_cumprod.double()
        self.kind = scheduler.config.prediction_type
        self.down_blocks = self.up_blocks = ()

    def forward(self, z_t: Tensor, timestep: Tensor, **kwargs: Any) -> tuple[Tensor]:
        bar = self.alpha_bars[int(timestep)].to(z_t)
        posterior = z_t / (bar * SPREAD**2 + 1 - bar)
        noise, z_0 = (1 - bar).sqrt() * posterior, bar.sqrt() * SPREAD**2 * posterior
        kinds = {"epsilon": noise, "sample": z_0, "v_prediction": velocity(z_0, noise, bar)}
        return (kinds[self.kind],)


def gaussian_denoiser(num_steps: int, kind: str = "epsilon") -> Denoiser:
    scheduler = tiny_scheduler(prediction_type=kind)
    denoiser = make_denoiser(scheduler, num_steps, GaussianUNet(scheduler))
    return replace(denoiser, prompt_embeds=denoiser.prompt_embeds.double())


@torch.no_grad()
def round_trip_error(denoiser: Denoiser, z_0: Tensor, refinements: int) -> float:
    """Relative distance from `z_0` after inversion and deterministic denoising."""
    z = invert(denoiser, z_0, refinements=refinements)[:1].unsqueeze(2)
    with adapted(denoiser.unet, [MotionBypass()]):
        for timestep in denoiser.scheduler.timesteps:
            z = denoiser.step(denoiser.predict(z, timestep), timestep, z)
    return float((z.squeeze(2) - z_0).square().mean().sqrt() / z_0.square().mean().sqrt())


@torch.no_grad()
def test_inversion_follows_the_exact_path_of_a_known_model() -> None:
    """Against a closed form: every doubling of the steps comes nearer to it."""
    z_0, errors = clean_latent().double(), []
    for num_steps in (25, 50, 100):
        denoiser = gaussian_denoiser(num_steps)
        bars = sampled_alpha_bars(denoiser.scheduler)
        deviation = (bars * SPREAD**2 + 1 - bars).sqrt() / SPREAD
        exact = z_0 * deviation[:, None, None, None]
        errors.append(float((invert(denoiser, z_0) - exact).abs().max() / exact.abs().max()))
    assert errors[0] < 0.05
    assert errors[0] > 1.4 * errors[1]
    assert errors[1] > 1.4 * errors[2]


@pytest.mark.parametrize("refinements", [0, 1, 3])
@torch.no_grad()
def test_inversion_is_the_plain_loop(refinements: int) -> None:
    """With the known model a latent is scaled; its factors by the plainest loop."""
    denoiser = gaussian_denoiser(7)
    bars = sampled_alpha_bars(denoiser.scheduler).tolist()
    factors = [1.0]
    for bar, bar_prev in zip(bars[-2::-1], bars[:0:-1], strict=True):
        factor = factors[-1]
        for _ in range(1 + refinements):
            noise = math.sqrt(1 - bar) * factor / (bar * SPREAD**2 + 1 - bar)
            clean = (factors[-1] - math.sqrt(1 - bar_prev) * noise) / math.sqrt(bar_prev)
            factor = math.sqrt(bar) * clean + math.sqrt(1 - bar) * noise
        factors.append(factor)
    z_0 = clean_latent().double()
    expected = torch.cat([factor * z_0 for factor in reversed(factors)])
    assert (invert(denoiser, z_0, refinements=refinements) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", SCHEDULERS)
@torch.no_grad()
def test_every_scheduler_gets_one_path_in_its_own_scaling(name: str) -> None:
    """One step of inversion is, in the scheduler's scaling, what its own add_noise would make of
    the predicted noise; and the trajectory has its timesteps and ends as the clean latent."""
    scheduler = SCHEDULERS[name]()
    denoiser = make_denoiser(scheduler, 6)
    z_0 = clean_latent()
    trajectory = invert(denoiser, z_0)
    assert trajectory.shape == (len(scheduler.timesteps) + 1, *z_0.shape[1:])
    assert torch.equal(trajectory[-1:], z_0)
    last = scheduler.timesteps[-1]
    with adapted(denoiser.unet, [MotionBypass()]):
        noise = denoiser.unet(
            z_0.unsqueeze(2), last, encoder_hidden_states=denoiser.prompt_embeds
        ).sample.squeeze(2)
    if sampled_alpha_bars(scheduler)[-1] == 1:
        expected = scheduler.add_noise(z_0, noise, last[None])
        assert (trajectory[-2:-1] - expected).abs().max() < 1e-4
    scale = noise_levels(scheduler, scheduler.timesteps).scale
    assert float(scheduler.init_noise_sigma) == pytest.approx(
        float(scale[0]) if "euler" in name else 1.0, rel=1e-3
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@torch.no_grad()
def test_refinements_undo_the_scheduler_s_own_steps(kind: str) -> None:
    """At the fixed point of the iteration, the step back is exactly the inverse of DDIM's."""
    denoiser, z_0 = gaussian_denoiser(10, kind), clean_latent().double()
    errors = [round_trip_error(denoiser, z_0, count) for count in (0, 2, 8)]
    assert errors[0] > 5 * errors[1]
    assert errors[1] > 5 * errors[2]
    assert errors[2] < 1e-4


@torch.no_grad()
def test_guidance_does_not_enter() -> None:
    denoiser = make_denoiser(tiny_scheduler())
    unconditional = torch.zeros_like(denoiser.prompt_embeds)
    guided = replace(
        denoiser, prompt_embeds=torch.cat([unconditional, denoiser.prompt_embeds]),
        guidance_scale=7.5, uses_guidance=True,
    )  # fmt: skip
    z_0 = clean_latent()
    assert torch.equal(invert(guided, z_0), invert(denoiser, z_0))
    other = replace(denoiser, prompt_embeds=unconditional)
    assert not torch.allclose(invert(other, z_0), invert(denoiser, z_0), atol=1e-3)


@torch.no_grad()
def test_a_denoiser_of_a_whole_clip_is_refused() -> None:
    denoiser = make_denoiser(tiny_scheduler())
    rows = replace(denoiser, prompt_embeds=denoiser.prompt_embeds.repeat(3, 1, 1))
    with pytest.raises(AssertionError):
        invert(rows, clean_latent())


@torch.no_grad()
def test_the_motion_modules_have_no_part_and_are_put_back() -> None:
    still = tiny_unet()
    changed = tiny_unet()
    for name, parameter in changed.named_parameters():
        if "motion_modules" in name:
            parameter.data.mul_(3)
    z_0 = clean_latent()
    first = invert(make_denoiser(tiny_scheduler(), unet=still), z_0)
    assert torch.equal(invert(make_denoiser(tiny_scheduler(), unet=changed), z_0), first)
    assert not any("forward" in vars(module) for module in changed.modules())


@torch.no_grad()
def test_half_precision_is_kept_outside_alone() -> None:
    denoiser = make_denoiser(tiny_scheduler())
    z_0 = clean_latent().to(torch.bfloat16)
    trajectory = invert(denoiser, z_0)
    assert trajectory.dtype == torch.bfloat16
    assert torch.equal(trajectory, invert(denoiser, z_0.float()).to(torch.bfloat16))


@torch.no_grad()
def test_predictions_are_counted() -> None:
    denoiser = make_denoiser(tiny_scheduler(), 3)
    for refinements in (0, 2):
        settings = PhotographSettings(trajectory="inversion", refinements=refinements)
        counter = Mock()
        photograph_latents(denoiser, clean_latent(), clean_latent(), settings, counter)
        assert counter.call_count == settings.num_predictions(3) == 3 * (1 + refinements)
    assert PhotographSettings(trajectory="diffusion").num_predictions(3) == 0


@torch.no_grad()
def test_the_settings_choose_the_way() -> None:
    denoiser = make_denoiser(tiny_scheduler())
    z_0, noise = clean_latent(), clean_latent().flip(0, 1)
    made = photograph_latents(denoiser, z_0, noise, PhotographSettings(trajectory="diffusion"))
    assert torch.equal(made, photograph_trajectory(denoiser.scheduler, z_0, noise))
    made = photograph_latents(denoiser, z_0, noise, PhotographSettings(trajectory="inversion"))
    wanted = invert(denoiser, z_0, refinements=PhotographSettings().refinements)
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_noise_levels_are_those_of_the_scheduler(name: str) -> None:
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(6)
    levels = noise_levels(scheduler, scheduler.timesteps)
    z_0, noise = clean_latent(), clean_latent().flip(0, 1, 2)
    for index, timestep in enumerate(scheduler.timesteps):
        theirs = scheduler.add_noise(z_0, noise, timestep[None])
        ours = levels.scale[index] * q_sample(z_0, noise, levels.alpha_bars[index])
        assert (ours - theirs).abs().max() < 1e-4
    if name.startswith("ddim"):
        assert (levels.alpha_bars - sampled_alpha_bars(scheduler)[:-1]).abs().max() < 1e-6


def test_schedulers_that_cannot_be_used_are_told() -> None:
    flow = FlowMatchEulerDiscreteScheduler()
    with pytest.raises(ModelError, match="FlowMatchEulerDiscreteScheduler cannot add noise"):
        noise_levels(flow, flow.timesteps)
    scheduler = tiny_scheduler()
    denoiser = make_denoiser(scheduler)
    scheduler.register_to_config(prediction_type="flow")
    with pytest.raises(ModelError, match="predicts 'flow'"):
        invert(denoiser, clean_latent())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trajectory": "magic"}, "trajectory is 'magic'; it can be 'inversion', 'diffusion'"),
        ({"first_frame": "none"}, "first_frame is 'none'"),
        ({"fit": "squeeze"}, "fit is 'squeeze'; it can be 'cover', 'pad'"),
        ({"refinements": -1}, "refinements is -1; give a whole number from 0 to 20"),
        ({"refinements": 21}, "refinements is 21"),
        ({"refinements": True}, "refinements is True"),
        ({"refinements": 1.5}, r"refinements is 1\.5"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PhotographSettings(**wrong)


@pytest.fixture(scope="module")
def miniature() -> SimpleNamespace:
    """A rendered still as a photograph, and a denoiser of the miniature for its caption."""
    pipe = load_model("miniature", device="cpu").pipeline
    stills = render_stills(1, 77, 64, Fixed(domain="plain"))
    words = caption(stills.scenes[0], random.Random(1), motion=False)
    with torch.no_grad():
        z_0 = pipe.vae.encode(to_model_range(stills.images)).latent_dist.mode()
        embeds, _ = pipe.encode_prompt(words, "cpu", 1, False)

    def denoiser(num_steps: int) -> Denoiser:
        scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        made = make_denoiser(scheduler, num_steps, pipe.unet)
        return replace(made, prompt_embeds=embeds)

    return SimpleNamespace(z_0=z_0 * pipe.vae.config.scaling_factor, denoiser=denoiser)


def test_more_steps_and_refinements_lead_nearer(miniature: SimpleNamespace) -> None:
    make: Callable[[int], Denoiser] = miniature.denoiser
    plain = [round_trip_error(make(steps), miniature.z_0, 0) for steps in (5, 10, 25)]
    assert plain[0] > plain[1] > plain[2]
    assert plain[2] < 0.1
    refined = round_trip_error(make(5), miniature.z_0, 2)
    assert plain[0] > 2 * refined


@torch.no_grad()
def test_the_trajectory_ends_as_the_photograph(miniature: SimpleNamespace) -> None:
    denoiser = miniature.denoiser(10)
    trajectory = invert(denoiser, miniature.z_0)
    assert denoiser.scheduler.config.set_alpha_to_one
    assert torch.equal(trajectory[-1:], miniature.z_0)
    # Noise grows along the way back, so the latents leave the photograph steadily.
    distance = [float((z - miniature.z_0[0]).square().mean()) for z in trajectory]
    assert distance == sorted(distance, reverse=True)
