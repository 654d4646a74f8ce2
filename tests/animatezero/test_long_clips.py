"""Clips longer than a window, and frames that are taken to be farther apart in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny_models import MAX_FRAMES, tiny_unet
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.adapters.adapter import FrameContext, adapted
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.spatial_control import insert_frame
from stillmotion.animatezero.windows import EndBlend
from stillmotion.diffusion.noise import correlated_noise
from stillmotion.errors import InputError

LONG = 2 * MAX_FRAMES + 3


def u_net_inputs(pipe, call: Any) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        call()
    finally:
        handle.remove()
    return seen


# Length


@pytest.mark.parametrize(
    "control",
    [
        AnimateZeroSettings(window_length=4),
        AnimateZeroSettings(window_length=MAX_FRAMES, kv_source="still"),
        AnimateZeroSettings(window_length=4, window="off"),
        AnimateZeroSettings(window_length=3, window_blocks=("down", "mid", "up")),
        AnimateZeroSettings(window_length=1),
    ],
)
def test_a_clip_can_be_longer_than_the_table_of_positions(pipe, still, control) -> None:
    clip = pipe.animate(still, seed=3, num_frames=LONG, control=control)
    assert clip.frames.shape == (1, LONG, 8, 8, 3)
    assert clip.latents.isfinite().all()
    assert torch.equal(clip.latents[0, :, 0], still.latents[-1])
    assert np.array_equal(clip.frames[0, 0], still.image)
    assert len(np.unique(clip.frames[0].reshape(LONG, -1), axis=0)) == LONG
    again = pipe.animate(still, seed=3, num_frames=LONG, control=control)
    assert torch.equal(again.latents, clip.latents)


@pytest.mark.parametrize("window", ["corrected", "off"])
def test_within_a_window_its_length_does_not_matter(pipe, still, window: str) -> None:
    clips = [
        pipe.animate(
            still,
            seed=3,
            num_frames=4,
            control=AnimateZeroSettings(window=window, window_length=length),
        ).latents
        for length in (None, MAX_FRAMES, 4, 3)
    ]
    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[0], clips[2])
    assert not torch.allclose(clips[0], clips[3], atol=1e-3)


@pytest.mark.parametrize(
    "control",
    [
        AnimateZeroSettings(window="uncorrected", window_length=4),
        AnimateZeroSettings(query_position="own", window_length=4),
    ],
)
def test_windows_that_cannot_slide_are_refused(pipe, still, control) -> None:
    pipe.animate(still, seed=3, num_frames=4, control=control)
    with pytest.raises(InputError, match="num_frames is 5; more than 4 need a window that slides"):
        pipe.animate(still, seed=3, num_frames=5, control=control)


def test_a_window_beyond_the_table_is_refused(pipe, still) -> None:
    control = AnimateZeroSettings(window_length=MAX_FRAMES + 1)
    pipe.animate(still, seed=3, num_frames=2, control=control)
    with pytest.raises(InputError, match=f"window_length of at most {MAX_FRAMES}"):
        pipe.animate(still, seed=3, num_frames=LONG, control=control)


@pytest.mark.parametrize("two_ends", [False, True])
@pytest.mark.parametrize("window", ["corrected", "off"])
def test_the_network_s_work_grows_linearly(window: str, two_ends: bool) -> None:
    unet, settings = tiny_unet(), AnimateZeroSettings(window=window, window_length=4)

    def work(num_frames: int) -> int:
        ends = EndBlend(num_frames) if two_ends else None
        context = FrameContext(num_frames=num_frames)
        x, text = torch.zeros(1, 4, num_frames, 4, 4), torch.zeros(num_frames, 3, 8)
        with (
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            adapted(unet, control_adapters(settings, context, ends)),
            FlopCounterMode(display=False) as flops,
        ):
            unet(x, 500, text)
        return flops.get_total_flops()

    short, middle, long = (work(num_frames) for num_frames in (8, 16, 32))
    assert long - middle == 2 * (middle - short)
    assert 1.9 < long / middle < 2.2


# Strength of the motion


def test_at_strength_1_positions_and_noise_are_the_usual_ones(pipe, still) -> None:
    """The roundabout way, taken just beside strength 1, leads to the same clip."""
    usual = pipe.animate(still, seed=3, num_frames=4).latents
    for strength in (1 - 1e-6, 1 + 1e-6):
        control = AnimateZeroSettings(motion_strength=strength)
        assert control.speed != 1 or control.noise_correlation != 0
        beside = pipe.animate(still, seed=3, num_frames=4, control=control).latents
        assert (beside - usual).abs().max() < 1e-3 * usual.abs().max()


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.5, 2.0])
@pytest.mark.parametrize("window", ["corrected", "off"])
def test_strength_changes_all_but_the_first_frame(pipe, still, strength, window: str) -> None:
    clips = [
        pipe.animate(
            still,
            seed=3,
            num_frames=6,
            control=AnimateZeroSettings(
                motion_strength=value, window=window, window_length=MAX_FRAMES
            ),
        )
        for value in (1.0, strength)
    ]
    assert np.array_equal(clips[1].frames[0, 0], still.image)
    differences = (clips[0].latents - clips[1].latents).abs().amax(dim=(0, 1, 3, 4))
    assert differences[0] == 0
    assert differences[1:].min() > 1e-3


def test_a_calm_clip_starts_from_a_chain_of_noise_that_the_still_begins(pipe, still) -> None:
    noise = torch.randn((1, 4, 4, 4, 4), generator=torch.Generator().manual_seed(2))
    control = AnimateZeroSettings(motion_strength=0.5)
    (start, *_) = u_net_inputs(
        pipe,
        lambda: pipe(
            still=still, num_frames=4, latents=noise, control=control, output_type="latent"
        ),
    )
    expected = correlated_noise(insert_frame(noise, still.latents[:1]), control.noise_correlation)
    assert torch.equal(start, expected.expand_as(start))
    assert torch.equal(start[0, :, 0], still.latents[0])


def test_positions_beyond_the_table_are_not_made_up(pipe, still) -> None:
    """At strength 2 frames lie 3 rows apart: 3 slots reach 7 rows of the 8, 4 slots 10."""
    control = AnimateZeroSettings(motion_strength=2.0, window_length=12)
    assert control.window_of(3) == 3
    pipe.animate(still, seed=3, num_frames=3, control=control)
    assert control.window_of(LONG) == 4
    with pytest.raises(InputError, match="window_length of at most"):
        pipe.animate(still, seed=3, num_frames=LONG, control=control)
