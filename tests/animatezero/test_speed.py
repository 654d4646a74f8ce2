"""Approximate runs: what they leave out, what stays exact, and that exact is the default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, LCMScheduler
from numpy.typing import NDArray
from tests.tiny_models import image_unet_of, randomise, tiny_pipeline
from torch import Tensor

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, TimeTravel
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SPEEDS, SpeedSettings
from stillmotion.errors import InputError
from stillmotion.media.still import Still
from stillmotion.runtime.memory import MemoryPlan

NUM_FRAMES, STEPS = 4, 6
SAMPLING = SamplingSettings(num_inference_steps=STEPS, guidance_scale=2.0)
REUSE = SpeedSettings(reuse_every=3)
BOTH = SpeedSettings(reuse_every=2, guidance_interval=(0.2, 0.6))


class Uses:
    """Counts the rows that go through the first and through the deepest layer of a U-Net."""

    def __init__(self, unet: Any) -> None:
        self.first: list[int] = []
        self.deep: list[int] = []
        self._handles = [
            module.register_forward_hook(lambda _m, _i, out, rows=rows: rows.append(len(out)))
            for module, rows in ((unet.conv_in, self.first), (unet.mid_block, self.deep))
        ]

    def __enter__(self) -> Uses:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


@pytest.fixture(scope="module")
def own_still(pipe: AnimateZeroPipeline) -> Still:
    return pipe.draw("a red ball", seeds=[1], sampling=SAMPLING)[0]


def animate(pipe: Any, still: Still, speed: Any = None, **options: Any) -> Any:
    extras = {} if speed is None else {"speed": speed}
    return pipe.animate(still, seed=3, num_frames=NUM_FRAMES, **extras, **options)


def mse(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(((a.astype(float) - b) ** 2).mean())


def test_exact_is_the_default(pipe, own_still) -> None:
    plain = animate(pipe, own_still)
    for speed in ("exact", SPEEDS["exact"], SpeedSettings(kept_skips=2)):
        same = animate(pipe, own_still, speed)
        assert torch.equal(same.latents, plain.latents)
        assert np.array_equal(same.frames, plain.frames)
    with pytest.raises(InputError, match="speed is 'warp'"):
        animate(pipe, own_still, "warp")


@pytest.mark.parametrize("speed", ["fast", "turbo", REUSE, BOTH])
@pytest.mark.parametrize("kv_source", ["video", "still"])
def test_the_first_frame_is_the_still_all_the_same(pipe, own_still, speed, kv_source) -> None:
    control = AnimateZeroSettings(kv_source=kv_source)
    exact = animate(pipe, own_still, control=control)
    made = animate(pipe, own_still, speed, control=control)
    assert mse(made.frames[0, 0], own_still.image) == 0
    assert torch.equal(made.latents[0, :, 0], own_still.latents[-1])
    assert not torch.allclose(made.latents[:, :, 1:], exact.latents[:, :, 1:], atol=1e-4)
    again = animate(pipe, own_still, speed, control=control)
    assert torch.equal(again.latents, made.latents)


def test_both_ends_stay_exact(pipe, own_still) -> None:
    last = pipe.draw("a blue cat", seeds=[2], sampling=SAMPLING)[0]
    made = animate(pipe, own_still, "turbo", last_frame=last)
    assert mse(made.frames[0, 0], own_still.image) == mse(made.frames[0, -1], last.image) == 0


def test_outside_the_interval_only_the_conditional_half_runs(pipe, own_still) -> None:
    speed = SpeedSettings(guidance_interval=(0.2, 0.6))
    with Uses(pipe.unet) as uses:
        animate(pipe, own_still, speed)
    two, one = 2 * NUM_FRAMES, NUM_FRAMES
    assert uses.first == [one, one, two, two, one, one]
    assert uses.deep == uses.first


def test_an_empty_interval_is_no_guidance(pipe, own_still) -> None:
    """The conditional half alone, which is what a scale of 1 asks for."""
    speed = SpeedSettings(guidance_interval=(0.0, 0.0))
    without = replace(SAMPLING, guidance_scale=1.0)
    plain = animate(pipe, own_still, sampling=without)
    made = animate(pipe, own_still, speed)
    assert (made.latents - plain.latents).abs().max() < 1e-5


@pytest.mark.parametrize("sequential", [False, True])
def test_deep_layers_run_in_every_nth_call(pipe, own_still, sequential: bool) -> None:
    memory = MemoryPlan(sequential_guidance=sequential)
    with Uses(pipe.unet) as uses:
        animate(pipe, own_still, REUSE, memory=memory)
    calls, rows = (2, NUM_FRAMES) if sequential else (1, 2 * NUM_FRAMES)
    assert uses.first == [rows] * STEPS * calls
    assert uses.deep == [rows] * 2 * calls


@pytest.mark.parametrize("speed", [REUSE, BOTH])
@pytest.mark.parametrize("kv_source", ["video", "still"])
def test_sequential_guidance_comes_to_the_same(pipe, own_still, speed, kv_source) -> None:
    control = AnimateZeroSettings(kv_source=kv_source)
    together = animate(pipe, own_still, speed, control=control)
    apart = animate(
        pipe, own_still, speed, control=control, memory=MemoryPlan(sequential_guidance=True)
    )
    assert (together.latents - apart.latents).abs().max() < 1e-4


def test_time_travel_counts_every_use_of_the_network(pipe, own_still) -> None:
    travel = TimeTravel(repeats=3, start=2, stop=4)
    control = AnimateZeroSettings(time_travel=travel)
    with Uses(pipe.unet) as uses:
        made = animate(pipe, own_still, BOTH, control=control)
    two, one = 2 * NUM_FRAMES, NUM_FRAMES
    assert uses.first == [one, one, *[two] * 6, one, one]
    # The first call of guidance cannot do with the features of the conditional half alone.
    assert uses.deep == [one, two, two, two, one]
    assert mse(made.frames[0, 0], own_still.image) == 0


def test_windows_and_loops_work_as_ever(pipe, own_still) -> None:
    control = AnimateZeroSettings(window_length=3)
    made = animate(pipe, own_still, BOTH, control=control, last_frame=own_still)
    assert mse(made.frames[0, 0], own_still.image) == mse(made.frames[0, -1], own_still.image) == 0


def test_features_do_not_pass_from_clip_to_clip(pipe, own_still) -> None:
    """A clip does not depend on what was made before it, or beside it."""
    alone = animate(pipe, own_still, BOTH)
    other = pipe.draw("a blue cat", seeds=[2], sampling=SAMPLING)[0]
    both = pipe.animate([other, own_still], seed=[5, 3], num_frames=NUM_FRAMES, speed=BOTH)
    assert torch.equal(both.latents[1:], alone.latents)


def test_a_controlnet_is_asked_with_the_deep_layers_only(pipe, own_still) -> None:
    net: Any = ControlNetModel.from_unet(
        image_unet_of(pipe.unet), conditioning_embedding_out_channels=(4, 8)
    )
    randomise(net, seed=11)
    asked: list[int] = []
    net.register_forward_hook(lambda *_: asked.append(1))
    maps = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 8, 8, 3), dtype=np.uint8)
    guide = ControlGuide(net=net, maps=maps)
    exact = animate(pipe, own_still, guide=guide)
    assert len(asked) == STEPS
    asked.clear()
    made = animate(pipe, own_still, SpeedSettings(reuse_every=2), guide=guide)
    assert len(asked) == STEPS // 2
    assert mse(made.frames[0, 0], own_still.image) == 0
    unguided = animate(pipe, own_still, SpeedSettings(reuse_every=2))

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().mean())

    assert distance(made.latents, exact.latents) < distance(made.latents, unguided.latents)


def test_stills_are_drawn_with_the_same_shortcuts(pipe, own_still) -> None:
    with Uses(pipe.unet) as uses:
        fast = pipe.draw("a red ball", seeds=[1], sampling=SAMPLING, speed=BOTH)[0]
    assert uses.first == [1, 1, 2, 2, 1, 1]
    assert uses.deep == [1, 2, 1]
    assert not np.array_equal(fast.image, own_still.image)
    # A still that was drawn so has latents like any other.
    made = animate(pipe, fast)
    assert mse(made.frames[0, 0], fast.image) == 0


def test_inversion_takes_no_shortcut(pipe, own_still) -> None:
    photograph = Still(image=own_still.image, settings=SAMPLING)
    inverting = PhotographSettings(trajectory="inversion")
    with Uses(pipe.unet) as uses:
        animate(pipe, photograph, BOTH, prompt="a red ball", photograph=inverting)
    assert uses.deep[:STEPS] == [1] * STEPS
    assert uses.first[:STEPS] == [1] * STEPS


def test_plain_animatediff_and_v1_modules_take_them_too() -> None:
    pipe = tiny_pipeline()
    still = pipe.draw("a red ball", seeds=[1], sampling=SAMPLING, speed="turbo")[0]
    plain = animate(pipe, still, BOTH, control=FIG6_ROWS["a"])
    assert plain.frames.shape[:2] == (1, NUM_FRAMES)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_step_modules_without_guidance(steps: int) -> None:
    """The way of AnimateLCM: LCM's scheduler, no guidance, one branch, few steps."""
    pipe = tiny_pipeline(scheduler=LCMScheduler(beta_schedule="linear", clip_sample=False))
    sampling = SamplingSettings(num_inference_steps=steps, guidance_scale=1.0)
    still = pipe.draw("a red ball", seeds=[1], sampling=sampling)[0]
    with Uses(pipe.unet) as uses:
        made = animate(pipe, still, sampling=sampling)
    assert uses.first == [NUM_FRAMES] * steps
    assert mse(made.frames[0, 0], still.image) == 0
