"""A still that is drawn in the same calls as its frames: the same clip, in fewer calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from tests.tiny_models import image_unet_of, randomise, tiny_pipeline, tiny_scheduler
from torch import Tensor

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.pipeline import AnimateZeroOutput, AnimateZeroPipeline
from stillmotion.animatezero.settings import FIG6_ROWS, PAPER, AnimateZeroSettings, TimeTravel
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.runtime.memory import MemoryPlan

NUM_FRAMES, STEPS = 4, 4
TOGETHER = STEPS
APART = 2 * STEPS
ROUNDING = 1e-6
"""A still keeps its latents in single precision."""


@pytest.fixture(scope="module")
def exact() -> AnimateZeroPipeline:
    """In double precision, where rounding is far below what any mistake changes."""
    return tiny_pipeline().to(torch.float64)


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, of the largest value."""
    return float((one - other).abs().max() / other.abs().max())


def clip(pipe: AnimateZeroPipeline, **options: Any) -> tuple[AnimateZeroOutput, int]:
    """A clip of a text, and how often the U-Net was called for it."""
    calls = []
    hook = pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        made = pipe(
            "a red ball", num_frames=NUM_FRAMES, num_inference_steps=STEPS, guidance_scale=2.0,
            generator=torch.Generator().manual_seed(5), output_type="np", **options,
        )  # fmt: skip
    finally:
        hook.remove()
    return made, len(calls)


@pytest.mark.parametrize(
    "control",
    [
        AnimateZeroSettings(),
        PAPER,
        AnimateZeroSettings(kv_source="still"),
        AnimateZeroSettings(kv_source="still", insert_latents=False),
        FIG6_ROWS["b"],
        FIG6_ROWS["c"],
        FIG6_ROWS["d"],
        AnimateZeroSettings(frame_norm="across_frames"),
        AnimateZeroSettings(motion_strength=0.3),
        AnimateZeroSettings(window_length=3),
    ],
    ids=str,
)
def test_it_is_the_clip_of_a_still_that_was_drawn_before(exact, control) -> None:
    apart, calls_apart = clip(exact, control=control, draws_beside=False)
    together, calls = clip(exact, control=control)
    assert (calls_apart, calls) == (APART, TOGETHER)
    assert difference(together.latents, apart.latents) < ROUNDING
    assert np.abs(together.frames - apart.frames).max() <= 1.01 / 255


def test_time_travel_draws_each_step_once(exact) -> None:
    control = AnimateZeroSettings(time_travel=TimeTravel(repeats=3, start=1, stop=3))
    apart, _ = clip(exact, control=control, draws_beside=False)
    together, calls = clip(exact, control=control)
    assert calls == STEPS + 2 * 2
    assert difference(together.latents, apart.latents) < ROUNDING


@pytest.mark.parametrize(
    "scheduler",
    [
        tiny_scheduler(timestep_spacing="trailing"),
        EulerDiscreteScheduler(beta_schedule="linear"),
        DPMSolverMultistepScheduler(beta_schedule="linear"),
        UniPCMultistepScheduler(beta_schedule="linear"),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_schedulers_that_remember_step_both(scheduler) -> None:
    pipe = tiny_pipeline(scheduler=scheduler).to(torch.float64)
    apart, _ = clip(pipe, draws_beside=False)
    together, calls = clip(pipe)
    assert calls == TOGETHER
    assert difference(together.latents, apart.latents) < ROUNDING


def test_a_guide_leads_the_still_by_its_first_map(exact) -> None:
    net = ControlNetModel.from_unet(
        image_unet_of(exact.unet), conditioning_embedding_out_channels=(4, 8)
    )
    net = randomise(net, seed=11).to(torch.float64)
    maps = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 8, 8, 3), dtype=np.uint8)
    guide = ControlGuide(net=net, maps=maps)
    apart, _ = clip(exact, guide=guide, draws_beside=False)
    together, calls = clip(exact, guide=guide)
    assert calls == TOGETHER
    assert difference(together.latents, apart.latents) < ROUNDING


def test_several_prompts_have_their_own_stills(exact) -> None:
    def both(**options: Any) -> Tensor:
        return exact(
            ["a red ball", "a cat"], num_frames=3, num_inference_steps=2, output_type="latent",
            generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)], **options,
        ).latents  # fmt: skip

    assert difference(both(), both(draws_beside=False)) < ROUNDING


@pytest.mark.parametrize(
    "options",
    [
        {"speed": "fast"},
        {"memory": MemoryPlan(sequential_guidance=True)},
        {"control": FIG6_ROWS["a"]},
    ],
    ids=["approximate", "short of memory", "no still"],
)
def test_elsewhere_nothing_changes(exact, options: dict[str, Any]) -> None:
    asked, calls = clip(exact, **options)
    apart, calls_apart = clip(exact, draws_beside=False, **options)
    assert calls == calls_apart
    assert torch.equal(asked.latents, apart.latents)


def test_a_given_still_or_end_is_not_drawn(exact) -> None:
    sampling = SamplingSettings(num_inference_steps=STEPS, guidance_scale=2.0)
    (still,) = exact.draw("a red ball", seeds=[1], sampling=sampling)
    for given in ({"still": still}, {"last_frame": still}):
        asked = clip(exact, **given)
        apart = clip(exact, draws_beside=False, **given)
        assert asked[1] == apart[1]
        assert torch.equal(asked[0].latents, apart[0].latents)


def test_a_scheduler_with_fresh_noise_draws_before() -> None:
    """The still's steps take noise that would come from the frames' else."""
    pipe = tiny_pipeline(scheduler=EulerAncestralDiscreteScheduler(beta_schedule="linear"))
    asked, calls = clip(pipe)
    apart, _ = clip(pipe, draws_beside=False)
    assert calls == APART
    assert torch.equal(asked.latents, apart.latents)


def test_what_follows_the_sampling_sees_the_frames_alone(exact) -> None:
    seen: list[tuple[int, ...]] = []

    def follow(pipe: Any, index: int, timestep: Any, kept: dict[str, Any]) -> None:
        seen.append(tuple(kept["latents"].shape))

    previews: list[Tensor] = []
    made, _ = clip(
        exact, callback_on_step_end=follow, on_preview=lambda _, clean: previews.append(clean)
    )
    assert seen == [tuple(made.latents.shape)] * STEPS
    assert [preview.shape for preview in previews] == [made.latents.shape] * STEPS


def test_frame_1_is_the_still_that_is_drawn_alone(exact) -> None:
    sampling = SamplingSettings(num_inference_steps=STEPS, guidance_scale=2.0)
    (still,) = exact.draw("a red ball", seeds=[5], sampling=sampling)
    made, _ = clip(exact)
    assert difference(made.latents[0, :, 0], still.latents[-1]) < ROUNDING
