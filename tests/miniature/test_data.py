"""Training data: what a seed gives, in which form, and kept on disk."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from stillmotion.diffusion.schedule import q_sample
from stillmotion.errors import InputError
from stillmotion.miniature.data import (
    cached,
    cached_judge_clips,
    cached_stills,
    judge_clip_scene,
    random_caption,
    render_clips,
    render_judge_clips,
    render_stills,
    sample_indices,
    to_model_range,
    to_uint8,
)
from stillmotion.miniature.text_to_image import (
    Noising,
    build_scheduler,
    subject_weight,
    weighted_mean,
)
from stillmotion.world.captions import vocabulary
from stillmotion.world.scene import Fixed, sample_scene


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_stills_and_clips_have_the_shapes_they_say() -> None:
    stills = render_stills(3, 0, 32)
    assert stills.images.shape == (3, 3, 32, 32)
    assert stills.masks.shape == (3, 32, 32)
    clips = render_clips(2, 0, 32, 5, Fixed(domain="plain"))
    assert clips.frames.shape == (2, 5, 3, 32, 32)
    assert clips.masks.shape == (2, 5, 32, 32)
    assert stills.images.dtype == clips.frames.dtype == torch.uint8
    assert [len(stills), len(clips)] == [3, 2]
    assert {scene.domain for scene in clips.scenes} == {"plain"}
    assert all(mask.any() for mask in stills.masks)


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    few, many, other = render_stills(2, 5, 32), render_stills(4, 5, 32), render_stills(2, 6, 32)
    assert torch.equal(few.images, many.images[:2])
    assert not torch.equal(few.images, other.images)


def test_the_judges_clips_all_move() -> None:
    assert all(judge_clip_scene(0, index).pacing != "still" for index in range(200))
    frames = render_judge_clips(4, 0, 16)
    assert frames.shape == (4, 16, 3, 16, 16)
    assert all((clip != clip[0]).any() for clip in frames)


def test_data_is_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stills = cached_stills(tmp_path / "stills.safetensors", 3, 0, 32)
    clips = cached_judge_clips(tmp_path / "clips.safetensors", 2, 0, 16)
    monkeypatch.setattr(
        "stillmotion.miniature.data.render_at", lambda *_: pytest.fail("rendered again")
    )
    again = cached_stills(tmp_path / "stills.safetensors", 3, 0, 32)
    assert torch.equal(again.images, stills.images)
    assert torch.equal(again.masks, stills.masks)
    assert again.scenes == stills.scenes
    clips_again = cached_judge_clips(tmp_path / "clips.safetensors", 2, 0, 16)
    assert torch.equal(clips_again.frames, clips.frames)
    assert clips_again.scenes == clips.scenes


def test_data_of_another_count_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    cached(path, 2, lambda: {"a": torch.zeros(2, 3)})
    with pytest.raises(InputError, match="holds 2 samples of another recipe, not 5; use another"):
        cached(path, 5, lambda: {"a": torch.zeros(5, 3)})


def test_pixels_are_rounded_and_cover_the_models_range() -> None:
    assert to_uint8(torch.tensor([-0.1, 0.0, 0.5, 1.0, 1.1])).tolist() == [0, 0, 128, 255, 255]
    assert to_model_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_captions_and_indices_follow_the_generator() -> None:
    scene = sample_scene(random.Random(0))
    known = set(vocabulary())
    first = [random_caption(scene, generator(i), domain=0.5, motion=0.5) for i in range(20)]
    again = [random_caption(scene, generator(i), domain=0.5, motion=0.5) for i in range(20)]
    assert first == again
    assert len(set(first)) > 10
    assert {word for text in first for word in text.replace(",", "").split()} <= known
    assert set(sample_indices(5, 200, generator()).tolist()) == set(range(5))


def test_the_loss_weighs_the_subject() -> None:
    masks = torch.zeros(2, 3, 16, 16, dtype=torch.bool)
    masks[0, 0, :8, :8] = True
    masks[1, 2, :4] = True
    weights = subject_weight(masks, 2)
    assert weights.shape == (2, 3, 2, 2)
    assert weights[0, 0].tolist() == [[3, 1], [1, 1]]
    assert weights[1, 2].tolist() == [[2, 2], [1, 1]]
    assert (weights[1, :2] == 1).all()


def test_the_loss_is_the_weighted_mean_over_all_samples() -> None:
    weights = torch.tensor([[1.0, 3.0], [2.0, 2.0], [1.0, 1.0]])
    error = torch.tensor([[4.0, 2.0]])
    mean = (1 * 4 + 3 * 2) / 2 / (10 / 6)
    assert weighted_mean(error, weights, torch.tensor([0])).item() == pytest.approx(mean)


@pytest.mark.parametrize("shape", [(6, 2, 4, 4), (6, 2, 3, 4, 4)])
def test_noise_and_velocity_belong_together(shape: tuple[int, ...]) -> None:
    clean = torch.randn(shape, generator=generator())
    noisy, velocity, timesteps = Noising()(clean, generator(1))
    assert timesteps.shape == (6,)
    assert len(set(timesteps.tolist())) > 1
    alpha = build_scheduler().alphas_cumprod[timesteps].view(-1, *[1] * (clean.ndim - 1))
    assert torch.allclose(alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity, clean, atol=1e-5)
    noise = (1 - alpha).sqrt() * noisy + alpha.sqrt() * velocity
    assert torch.allclose(q_sample(clean, noise, alpha), noisy, atol=1e-5)
    assert noise.std() == pytest.approx(1, abs=0.2)
