"""Clips reach the loss as pictures reach the sampler: the same latents, texts and CLIP tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.dynamicrafter.tiny_pipeline import SIZE, tiny_dynamicrafter
from tests.training.coded_clips import generator

from stillmotion.dynamicrafter.conditioning import Conditioner
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.finetuning.beginnings import Frozen
from stillmotion.finetuning.request import WORLD, TrainingOptions
from stillmotion.finetuning.source import EncodedClips, clip_source
from stillmotion.training.clips.drawing import DrawnClips
from stillmotion.training.clips.samples import ClipSource

FRAMES = 4
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipe() -> DynamiCrafterPipeline:
    return tiny_dynamicrafter()


def world(**changes: Any) -> ClipSource:
    single = changes.pop("single", False)
    options = TrainingOptions(max_stride=3, **changes)
    return clip_source(WORLD, options, (SIZE, SIZE), FRAMES, single=single)


def source(pipe: DynamiCrafterPipeline, kind: Any = "frame_stride") -> EncodedClips:
    frozen = Frozen(
        vae=pipe.vae, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer,
        image_encoder=pipe.image_encoder,
    )  # fmt: skip
    return EncodedClips(DrawnClips(world(), 3), frozen, CPU, kind)


@torch.no_grad()
def test_clips_are_encoded_as_pictures_are(pipe: DynamiCrafterPipeline) -> None:
    clips, given = source(pipe).batch(3, generator(5)), DrawnClips(world(), 3).batch(generator(5))
    conditioner = Conditioner(pipe=pipe, device=CPU)
    assert clips.latents.shape == (3, 4, FRAMES, SIZE // 2, SIZE // 2)
    assert clips.latents.is_contiguous()
    seen = clips.clip_tokens(torch.tensor([2, 2, 2]))
    for number in range(3):
        picture = given.frames[number, 2].permute(1, 2, 0).numpy()
        latent = conditioner.latent(picture)[0]
        assert (clips.latents[number, :, 2] - latent).abs().max() < 1e-5
        text = conditioner.text(given.captions[number])[0]
        assert (clips.text[number] - text).abs().max() < 1e-5
        pixels = given.frames[number, 2][None] / 127.5 - 1
        tokens = pipe.image_context(seen[number : number + 1])
        assert (tokens - conditioner.image_tokens(pixels)).abs().max() < 1e-4


@torch.no_grad()
def test_nothing_is_the_empty_text_and_grey(pipe: DynamiCrafterPipeline) -> None:
    made, conditioner = source(pipe), Conditioner(pipe=pipe, device=CPU)
    assert torch.allclose(made.no_text, conditioner.text(""), atol=1e-6)
    grey = conditioner.image_tokens(torch.zeros(1, 3, SIZE, SIZE))
    assert torch.allclose(pipe.image_context(made.no_image), grey, atol=1e-5)


def test_the_network_is_told_its_own_kind_of_pace(pipe: DynamiCrafterPipeline) -> None:
    given = DrawnClips(world(), 3).batch(generator(5))
    for kind, expected in (
        ("frame_stride", given.frame_strides), ("conditioning_fps", given.conditioning_fps),
    ):  # fmt: skip
        pace = source(pipe, kind).batch(3, generator(5)).pace
        assert pace is not None
        assert torch.equal(pace, expected)
    assert source(pipe, None).batch(3, generator(5)).pace is None


def test_at_the_largest_stride_the_world_shows_eight_frames_per_second() -> None:
    paces = set()
    for seed in range(20):
        sample = world().sample(seed, generator(seed))
        paces.add((sample.frame_stride, sample.conditioning_fps))
    assert paces == {(1, 24), (2, 12), (3, 8)}


def test_single_frames_come_from_anywhere_in_a_clip() -> None:
    made = world(single=True)
    frames = [made.sample(1, generator(seed)).frames for seed in range(8)]
    assert all(each.shape == (1, 3, SIZE, SIZE) for each in frames)
    assert any(not torch.equal(each, frames[0]) for each in frames)


def test_mixed_precision_around_it_changes_nothing(pipe: DynamiCrafterPipeline) -> None:
    made = source(pipe)
    plain = made.batch(3, generator(5))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = made.batch(3, generator(5))
    assert torch.equal(plain.latents, mixed.latents)
    assert torch.equal(plain.text, mixed.text)
