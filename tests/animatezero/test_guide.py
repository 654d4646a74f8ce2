"""A ControlNet beside AnimateZero, against diffusers' pipelines with the same weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffControlNetPipeline,
    ControlNetModel,
    StableDiffusionControlNetPipeline,
)
from numpy.typing import NDArray
from PIL import Image
from tests.tiny_models import image_unet_of, randomise
from torch import Tensor, nn

from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.guide import ControlGuide, FrameControl
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.errors import InputError
from stillmotion.runtime.memory import MemoryPlan

NUM_FRAMES, STEPS = 4, 4
STOCK = replace(FIG6_ROWS["a"], frame_norm="across_frames")


def some_maps(num_frames: int = NUM_FRAMES, seed: int = 0) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_frames, 8, 8, 3), dtype=np.uint8)


def pictures(maps: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(one) for one in maps]


@pytest.fixture(scope="module")
def net(pipe) -> ControlNetModel:
    """No zero convolution is zero, so that all that it says is heard."""
    image_unet = image_unet_of(pipe.unet)
    net = ControlNetModel.from_unet(image_unet, conditioning_embedding_out_channels=(4, 8))
    return randomise(net, seed=11)


def stock_call(pipe, net: ControlNetModel, maps: NDArray[np.uint8], **options: Any) -> Tensor:
    stock = AnimateDiffControlNetPipeline(
        **{**pipe.components, "scheduler": copy.deepcopy(pipe.scheduler)}, controlnet=net
    )
    stock.set_progress_bar_config(disable=True)
    return stock("a red ball", conditioning_frames=pictures(maps), **options).frames


# With everything else off it is diffusers


@pytest.mark.parametrize(
    ("scale", "start", "stop"),
    [(1.0, 0.0, 1.0), (0.7, 0.25, 0.75), (0.5, 0.5, 1.0), (1.0, 0.1, 0.6)],
)
@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_it_is_diffusers_bit_for_bit(
    pipe, net, scale: float, start: float, stop: float, guidance_scale: float
) -> None:
    options = {
        "num_frames": NUM_FRAMES,
        "num_inference_steps": STEPS,
        "guidance_scale": guidance_scale,
        "latents": torch.randn(
            (1, 4, NUM_FRAMES, 4, 4), generator=torch.Generator().manual_seed(2)
        ),
        "output_type": "latent",
    }
    theirs = stock_call(
        pipe,
        net,
        some_maps(),
        controlnet_conditioning_scale=scale,
        control_guidance_start=start,
        control_guidance_end=stop,
        **options,
    )
    guide = ControlGuide(net=net, maps=some_maps(), scale=scale, start=start, stop=stop)
    plain = {"control": STOCK, "savings": Savings.none()}
    ours = pipe("a red ball", guide=guide, **plain, **options).frames
    assert torch.equal(ours, theirs)
    unguided = pipe("a red ball", control=STOCK, **options).frames
    assert not torch.allclose(ours, unguided, atol=1e-3)


def test_drawing_follows_the_first_map_as_in_diffusers(pipe, net, still, sampling) -> None:
    parts = {name: pipe.components[name] for name in ("vae", "text_encoder", "tokenizer")}
    theirs = StableDiffusionControlNetPipeline(
        **parts,
        unet=image_unet_of(pipe.unet),
        controlnet=net,
        scheduler=copy.deepcopy(pipe.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    latents = theirs(
        "a red ball",
        pictures(some_maps())[0],
        num_inference_steps=3,
        guidance_scale=2.0,
        controlnet_conditioning_scale=0.8,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
    ).images
    guide = ControlGuide(net=net, maps=some_maps(), scale=0.8)
    (ours,) = pipe.draw("a red ball", seeds=[1], sampling=sampling, guide=guide)
    assert (ours.latents[-1] - latents[0]).abs().max() < 1e-4 * latents.abs().max()
    assert not torch.allclose(ours.latents[-1], still.latents[-1], atol=1e-3)
    (first_alone,) = pipe.draw("a red ball", seeds=[1], sampling=sampling, guide=guide.first())
    assert torch.equal(first_alone.latents, ours.latents)


# Together with AnimateZero


def test_frames_follow_their_maps_and_the_first_stays_the_still(pipe, net, still) -> None:
    maps, other = some_maps(), some_maps()
    other[2] = 255 - other[2]
    plain = pipe.animate(still, seed=3, num_frames=NUM_FRAMES)
    guided, changed = (
        pipe.animate(still, seed=3, num_frames=NUM_FRAMES, guide=ControlGuide(net=net, maps=given))
        for given in (maps, other)
    )
    for clip in (guided, changed):
        assert torch.equal(clip.latents[:, :, 0], plain.latents[:, :, 0])
        assert np.array_equal(clip.frames[0, 0], still.image)
    difference = (guided.latents - changed.latents).abs().amax(dim=(0, 1, 3, 4))
    assert difference.argmax() == 2
    assert (guided.latents - plain.latents).abs().max() > 1e-3


def test_a_scale_of_zero_is_no_guide(pipe, net, still) -> None:
    guide = ControlGuide(net=net, maps=some_maps(), scale=0.0)
    guided = pipe.animate(still, seed=3, num_frames=NUM_FRAMES, guide=guide)
    plain = pipe.animate(still, seed=3, num_frames=NUM_FRAMES)
    assert torch.equal(guided.latents, plain.latents)


def test_halves_one_after_the_other_are_guided_alike(pipe, net, still) -> None:
    guide = ControlGuide(net=net, maps=some_maps())
    clips = [
        pipe.animate(still, seed=3, num_frames=NUM_FRAMES, guide=guide, memory=plan).latents
        for plan in (MemoryPlan(), MemoryPlan(sequential_guidance=True))
    ]
    assert (clips[0] - clips[1]).abs().max() < 1e-5 * clips[0].abs().max()


@pytest.mark.parametrize(
    ("start", "stop", "seen"),
    [(0, 1, [0, 1, 2]), (0, 0.34, [0]), (0.33, 1, [1, 2]), (0.34, 1, [2])],
)
def test_it_acts_in_its_share_of_the_steps(pipe, net, still, start, stop, seen) -> None:
    timesteps: list[int] = []
    handle = net.register_forward_pre_hook(lambda module, args: timesteps.append(int(args[1])))
    guide = ControlGuide(net=net, maps=some_maps(), start=start, stop=stop)
    try:
        pipe.animate(still, seed=3, num_frames=NUM_FRAMES, guide=guide)
    finally:
        handle.remove()
    assert timesteps == [still.timesteps[step] for step in seen]


@pytest.mark.parametrize("loop", [False, True])
def test_reference_rows_follow_the_maps_of_their_frames(pipe, net, still, loop: bool) -> None:
    conditions: list[Tensor] = []

    def keep(module: nn.Module, args: tuple, kwargs: dict) -> None:
        conditions.append(kwargs["controlnet_cond"])

    handle = net.register_forward_pre_hook(keep, with_kwargs=True)
    maps = some_maps(NUM_FRAMES + 1)
    try:
        pipe.animate(
            still,
            seed=3,
            num_frames=NUM_FRAMES,
            control=AnimateZeroSettings(kv_source="still"),
            guide=ControlGuide(net=net, maps=maps),
            last_frame=still if loop else None,
        )
    finally:
        handle.remove()
    references = [0, NUM_FRAMES - 1] if loop else [0]
    rows = [*references, *range(NUM_FRAMES)]
    expected = torch.from_numpy(maps[rows + rows]).permute(0, 3, 1, 2) / 255
    assert len(conditions) == 3
    for condition in conditions:
        assert torch.equal(condition, expected)


class Echo(nn.Module):
    """Says back what it was asked."""

    device, dtype = torch.device("cpu"), torch.float32

    def forward(self, rows: Tensor, timestep: Tensor, **options: Any) -> tuple[Any, Any]:
        return {"rows": rows, **options}, timestep


def test_rows_lie_as_in_the_u_net_s_batch() -> None:
    timesteps = torch.tensor([900, 600, 300])
    guide = ControlGuide(net=Echo(), maps=some_maps(), scale=0.3, stop=0.7)
    control = FrameControl(guide, [3, 0, 1], timesteps)
    z, text = torch.arange(2 * 4 * 3.0).view(2, 4, 3, 1, 1), torch.zeros(6, 5, 8)
    said = control.residuals(z, timesteps[1], text)
    assert set(said) == {"down_block_additional_residuals", "mid_block_additional_residual"}
    asked = said["down_block_additional_residuals"]
    for half in range(2):
        for row, frame in enumerate([3, 0, 1]):
            assert torch.equal(asked["rows"][3 * half + row], z[half, :, row])
            expected = torch.from_numpy(some_maps()[frame]).permute(2, 0, 1) / 255
            assert torch.equal(asked["controlnet_cond"][3 * half + row], expected)
    assert asked["encoder_hidden_states"] is text
    assert asked["conditioning_scale"] == 0.3
    assert said["mid_block_additional_residual"] == 600
    assert control.residuals(z, timesteps[2], text) == {}


# What does not fit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"maps": some_maps()[0]}, r"shape \(8, 8, 3\)"),
        ({"maps": some_maps()[..., :1]}, r"shape \(4, 8, 8, 1\)"),
        ({"maps": some_maps() / 255}, "type float64"),
        ({"scale": -1.0}, "scale is -1.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"start": 0.5, "stop": 0.5}, "from 0.5 to 0.5"),
        ({"start": -0.1}, "from -0.1"),
        ({"stop": 1.1}, "to 1.1"),
    ],
)
def test_impossible_guides_are_refused(change: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        ControlGuide(**{"net": Echo(), "maps": some_maps(), **change})


def test_too_few_or_other_maps_are_refused(pipe, net, still, sampling) -> None:
    guide = ControlGuide(net=net, maps=some_maps())
    with pytest.raises(InputError, match=r"There are 4 control maps .*; 5 of 8 x 8 are needed"):
        pipe.animate(still, seed=1, num_frames=5, guide=guide)
    wide = replace(guide, maps=np.zeros((5, 8, 12, 3), np.uint8))
    with pytest.raises(InputError, match="8 x 12 pixels"):
        pipe.animate(still, seed=1, num_frames=5, guide=wide)
    with pytest.raises(InputError, match="1 of 8 x 8 are needed"):
        pipe.draw("a", seeds=[1], sampling=sampling, guide=wide)
