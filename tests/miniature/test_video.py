"""Clips for the miniature DynamiCrafter, and its stages from the image model to interpolation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from tests.miniature.microscopic import microscopic_recipe
from transformers import CLIPModel

from stillmotion.dynamicrafter.stages import Group, group_of
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError
from stillmotion.miniature.stages import Workshop
from stillmotion.miniature.video import (
    FULL_STRIDE,
    STRIDES,
    VideoNoising,
    VideoScene,
    build_video_scheduler,
    video_scene,
)
from stillmotion.miniature.video_stages import VIDEO_TEXT_ENCODER, VideoWorkshop
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at


def shop(folder: Path) -> Workshop:
    return Workshop(microscopic_recipe(), folder, torch.device("cpu"), lambda done, values: None)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_stride_shows_so_much_of_the_motion() -> None:
    scene = video_scene(1, 2).scene
    whole = render_at(scene, progress(scene, 4), 32).frames
    frames = VideoScene(scene, FULL_STRIDE).frames(4, 32)
    assert torch.equal(frames, (whole * 255).round().to(torch.uint8))
    slow = render_at(scene, progress(scene, 4) / FULL_STRIDE, 32).frames
    assert torch.equal(VideoScene(scene, 1).frames(4, 32), (slow * 255).round().to(torch.uint8))
    assert torch.equal(
        VideoScene(scene, 1).frames(4, 32, 2), VideoScene(scene, 1).frames(4, 32)[2:3]
    )


def test_scenes_have_all_strides_and_looks() -> None:
    scenes = [video_scene(7, index) for index in range(300)]
    assert {one.stride for one in scenes} == set(STRIDES)
    full = sum(one.stride == FULL_STRIDE for one in scenes) / 300
    assert abs(full - STRIDES[FULL_STRIDE]) < 0.1
    assert len({one.scene.domain for one in scenes}) == 5
    assert video_scene(7, 3) == video_scene(7, 3)
    assert video_scene(7, 3) != video_scene(8, 3)


def test_the_image_model_learns_on_the_videos_schedule() -> None:
    clean = torch.randn(5, 8, 4, 4, generator=generator())
    noisy, target, timesteps = VideoNoising()(clean, generator(1))
    again = VideoNoising()(clean, generator(1))
    assert all(torch.equal(a, b) for a, b in zip((noisy, target, timesteps), again, strict=True))
    bars = build_video_scheduler().alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    noise = (noisy - bars.sqrt() * clean) / (1 - bars).sqrt()
    expected = bars.sqrt() * noise - (1 - bars).sqrt() * clean
    assert (target - expected).abs().max() < 1e-4


def test_noisy_timesteps_can_be_drawn_more_often() -> None:
    even, noisy = (VideoNoising(bias).training_timesteps(4000, generator()) for bias in (1.0, 0.5))
    assert 0 <= int(even.min()) < 5
    assert 995 < int(noisy.max()) < 1000
    assert abs(float(even.double().mean()) - 500) < 15
    # The mean of u ** 0.5 is 2/3.
    assert abs(float(noisy.double().mean()) - 667) < 15


def test_each_stage_begins_with_what_those_before_learned(trained: Path) -> None:
    folder = trained / "dynamicrafter"
    image = UNet2DConditionModel.from_pretrained(folder / "image" / "unet").state_dict()
    unets = {
        name: DynamiCrafterUNet.from_pretrained(folder / name / "unet")
        for name in ("video", "adapt", "joint", "finish", "interpolation")
    }
    states = {name: unet.state_dict() for name, unet in unets.items()}
    assert unets["video"].config.in_channels == 8
    assert [unets[n].config.in_channels for n in ("adapt", "joint")] == [8, 16]
    temporal = [n for n in states["video"] if group_of(n) is Group.TEMPORAL]
    # The paper's stages leave the layers over time as the text-to-video model has them.
    for name in ("adapt", "joint"):
        assert all(torch.equal(states[name][n], states["video"][n]) for n in temporal)
        assert not torch.equal(states[name]["conv_out.weight"], states["video"]["conv_out.weight"])
    # In the miniature's own last ones these learn as well, each from what the one before has.
    for name, before in (("finish", "joint"), ("interpolation", "finish")):
        changes = [(states[name][n] - states[before][n]).abs().max() for n in temporal]
        assert 0 < max(changes) < 0.02
    attention = load_file(folder / "context" / "image_attention.safetensors")
    assert len(attention) == len([n for n in states["adapt"] if ".processor." in n])
    near = states["video"]["conv_out.weight"] - image["conv_out.weight"]
    assert 0 < near.abs().max() < 0.02


def test_pictures_are_the_frames_of_the_latents(trained: Path) -> None:
    video = VideoWorkshop(shop(trained))
    source = video._source(video._encoder())
    clips = source.batch(3, generator(4))
    assert clips.latents.shape[:3] == (3, 8, 16)
    assert clips.pace is not None
    tokens = clips.clip_tokens(torch.tensor([0, 5, 15]))
    clip = CLIPModel.from_pretrained(trained / "clip")
    tokens_per_picture = clip.vision_model.embeddings.num_positions
    assert tokens.shape == (3, tokens_per_picture, clip.config.vision_config.hidden_size)
    assert source.no_image.shape == (1, *tokens.shape[1:])
    assert not torch.allclose(tokens[:1], source.no_image, atol=1e-3)


def test_a_stage_before_must_be_finished(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train the stage 'video-image' first"):
        VideoWorkshop(shop(tmp_path)).run("video")
    with pytest.raises(InputError, match="train the stage 'clip' first"):
        VideoWorkshop(shop(tmp_path)).run("video-text")
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    shutil.rmtree(run / VIDEO_TEXT_ENCODER)
    with pytest.raises(InputError, match="train the stage 'video-text' first"):
        VideoWorkshop(shop(run)).run("video")
