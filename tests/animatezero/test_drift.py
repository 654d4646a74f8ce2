"""Drift correction: what it gives back, to whom, and when it does nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.tiny_models import tiny_scheduler
from torch import Tensor, nn

from stillmotion.animatezero.anchors import Anchor
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.sampling import Hooks, Start, animate_latents, denoise
from stillmotion.animatezero.settings import PAPER, AnimateZeroSettings
from stillmotion.animatezero.spatial_control import insert_frame
from stillmotion.diffusion.drift import DETAIL_FRAMES, DETAIL_SHARE, correct_drift, level_colours

NUM_FRAMES = 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clip() -> Tensor:
    return random(1, 4, NUM_FRAMES, 5, 5)


def pattern() -> Tensor:
    """(1 4 5 5) without a mean in any channel."""
    detail = random(1, 4, 5, 5, seed=3)
    return detail - detail.mean((-2, -1), keepdim=True)


def colour(seed: int) -> Tensor:
    return random(1, 4, 1, 1, seed=seed)


def plain_loop(latents: Tensor, given: dict[int, Tensor]) -> Tensor:
    corrected = latents.clone()
    for frame in range(NUM_FRAMES):
        for at, known in given.items():
            for c in range(latents.shape[1]):
                drift = known[0, c] - latents[0, c, at]
                distance = abs(frame - at)
                near = 1 - distance / (NUM_FRAMES - 1) if len(given) == 2 else 1
                share = 0.6 * math.exp(-max(distance - 1, 0) / 4)
                corrected[0, c, frame] += near * drift.mean() + share * (drift - drift.mean())
    return corrected


@pytest.mark.parametrize("frames", [(0,), (0, NUM_FRAMES - 1)])
def test_it_is_the_plain_loop(frames: tuple[int, ...]) -> None:
    given = {frame: random(1, 4, 5, 5, seed=10 + frame) for frame in frames}
    latents = clip()
    before = latents.clone()
    assert (correct_drift(latents, given) - plain_loop(latents, given)).abs().max() < 1e-13
    assert torch.equal(latents, before)


def test_frames_as_they_should_be_are_left_alone() -> None:
    latents = clip()
    one, both = {0: latents[:, :, 0]}, {0: latents[:, :, 0], NUM_FRAMES - 1: latents[:, :, -1]}
    for given in ({}, one, both):
        assert torch.equal(correct_drift(latents, given), latents)


def test_a_colour_that_all_frames_drifted_by_is_given_back_in_full() -> None:
    right, drift = clip(), colour(5)
    corrected = correct_drift(right + drift.unsqueeze(2), {0: right[:, :, 0]})
    assert (corrected - right).abs().max() < 1e-14


def test_detail_is_given_back_less_and_less() -> None:
    latents = clip()
    corrected = correct_drift(latents, {0: latents[:, :, 0] + pattern()})
    for frame in range(1, NUM_FRAMES):
        share = DETAIL_SHARE * math.exp(-(frame - 1) / DETAIL_FRAMES)
        given_back = corrected[:, :, frame] - latents[:, :, frame]
        assert (given_back - share * pattern()).abs().max() < 1e-14


def test_between_two_ends_the_colour_is_interpolated() -> None:
    """So that the frames at the ends get their own in full, and nothing of the other's."""
    latents, first, last = clip(), colour(5), colour(6)
    given = {0: latents[:, :, 0] + first, NUM_FRAMES - 1: latents[:, :, -1] + last}
    given_back = correct_drift(latents, given) - latents
    for frame in range(NUM_FRAMES):
        share = frame / (NUM_FRAMES - 1)
        expected = ((1 - share) * first + share * last).expand(1, 4, 5, 5)
        assert (given_back[:, :, frame] - expected).abs().max() < 1e-14


def test_levelled_frames_have_the_colours_of_the_given_ones() -> None:
    latents, first, last = clip(), random(1, 4, 5, 5, seed=7), random(1, 4, 5, 5, seed=8)
    one = level_colours(latents, {0: first})
    both = level_colours(latents, {0: first, NUM_FRAMES - 1: last})
    for frame in range(NUM_FRAMES):
        share = frame / (NUM_FRAMES - 1)
        between = (1 - share) * first.mean((-2, -1)) + share * last.mean((-2, -1))
        for levelled, mean in ((one, first.mean((-2, -1))), (both, between)):
            here = levelled[:, :, frame]
            assert (here.mean((-2, -1)) - mean).abs().max() < 1e-14
            change = here - latents[:, :, frame]  # the same everywhere: no shape moves
            assert (change - change[..., :1, :1]).abs().max() < 1e-14
    assert torch.equal(level_colours(latents, {}), latents)


def test_half_precision_stays_half() -> None:
    latents = clip().bfloat16()
    assert correct_drift(latents, {0: latents[:, :, 1]}).dtype == torch.bfloat16
    assert level_colours(latents, {0: latents[:, :, 1]}).dtype == torch.bfloat16


# In the loop


class Waves(nn.Module):
    """A closed form in place of a network."""

    def forward(self, x: Tensor, t: Tensor, **_: object) -> tuple[Tensor]:
        return (0.7 * x + 0.2 * torch.sin(3 * x.roll(1, 2)) + 0.1,)


def waves() -> Denoiser:
    scheduler = tiny_scheduler()
    scheduler.set_timesteps(4)
    return Denoiser(
        unet=Waves(),
        scheduler=scheduler,
        prompt_embeds=torch.zeros(NUM_FRAMES, 1, 1),
        guidance_scale=1.0,
        uses_guidance=False,
        step_options={},
    )


@pytest.mark.parametrize("frames", [(0,), (0, NUM_FRAMES - 1)])
def test_the_loop_corrects_after_each_step_and_inserts_again(frames: tuple[int, ...]) -> None:
    denoiser, anchors = waves(), [Anchor(n, random(5, 4, 5, 5, seed=20 + n)) for n in frames]
    settings = AnimateZeroSettings(share_keys_values=False, window="off")
    start = Start(noise=clip(), more_noise=clip, anchors=anchors)

    def inserted(z: Tensor, step: int) -> Tensor:
        for anchor in anchors:
            z = insert_frame(z, anchor.at(step), anchor.frame)
        return z

    z = plain = inserted(clip(), 0)
    for step, timestep in enumerate(denoiser.scheduler.timesteps):
        z, _ = denoise(denoiser, z, timestep)
        z = correct_drift(z, {anchor.frame: anchor.at(step + 1) for anchor in anchors})
        z = inserted(z, step + 1)
        plain = inserted(denoise(denoiser, plain, timestep)[0], step + 1)
    hooks = Hooks(lambda: None)
    free = replace(start, keeps_colours=False)
    assert torch.equal(animate_latents(denoiser, free, settings, hooks), z)
    last = len(denoiser.scheduler.timesteps)
    level = inserted(level_colours(z, {one.frame: one.at(last) for one in anchors}), last)
    assert torch.equal(animate_latents(denoiser, start, settings, hooks), level)
    assert not torch.allclose(level, z, atol=1e-3)
    off = replace(settings, drift_correction=False)
    assert torch.equal(animate_latents(denoiser, start, off, hooks), plain)
    assert not torch.allclose(z, plain, atol=1e-3)


def test_the_paper_s_method_has_none(pipe, still) -> None:
    clips = [
        pipe.animate(still, seed=3, num_frames=4, control=control).latents
        for control in (AnimateZeroSettings(), PAPER)
    ]
    assert torch.equal(clips[0][:, :, 0], clips[1][:, :, 0])
    assert not torch.allclose(clips[0], clips[1], atol=1e-3)
    one = [
        pipe.animate(still, seed=3, num_frames=1, control=control).latents
        for control in (AnimateZeroSettings(), PAPER)
    ]
    assert torch.equal(*one)


@pytest.mark.parametrize(("end", "is_level"), [("a red ball", True), ("a blue ball", False)])
def test_texts_along_the_clip_may_change_the_colours(pipe, still, end, is_level) -> None:
    texts = PromptTrack({0: "a red ball", 3: end})
    latents = pipe.animate(still, texts, seed=3, num_frames=4).latents
    drift = (latents - still.latents[-1:].unsqueeze(2)).mean((-2, -1))
    assert (drift.abs().max() < 1e-5) == is_level


def test_without_inserted_latents_there_is_nothing_to_correct(pipe, still) -> None:
    free = replace(PAPER, insert_latents=False)
    clips = [
        pipe.animate(still, seed=3, num_frames=3, control=control).latents
        for control in (free, replace(free, drift_correction=True))
    ]
    assert torch.equal(*clips)
