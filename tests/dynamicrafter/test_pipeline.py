"""The whole way from a picture to a clip, on tiny random networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.dynamicrafter.tiny_pipeline import (
    SIZE,
    TRAINED_FRAMES,
    tiny_dynamicrafter,
    tiny_dynamicrafter_unet,
)
from torch import Tensor

from stillmotion.adapters.lean_savings import Savings
from stillmotion.diffusion.guidance import multi_condition_guidance, rescale_guidance
from stillmotion.dynamicrafter.conditioning import Conditioner
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.sampling import Denoiser
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.errors import InputError, ModelError, StillmotionError
from stillmotion.models.registry import resolve_model
from stillmotion.runtime.memory import MemoryPlan

SETTINGS = DynamiCrafterSettings(num_inference_steps=3, guidance_rescale=0.7)


@pytest.fixture(scope="module")
def pipe() -> DynamiCrafterPipeline:
    return tiny_dynamicrafter()


def picture(seed: int = 0, *shape: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*(shape or (SIZE, SIZE)), 3), dtype=np.uint8)


def made(pipe: Any, *, seed: int = 1, frames: int = TRAINED_FRAMES, **changes: Any) -> Any:
    """`changes` are settings, but for the options of `animate`."""
    names = ("last_frame", "memory", "progress", "savings")
    options = {name: changes.pop(name) for name in names if name in changes}
    settings = replace(SETTINGS, **changes)
    return pipe.animate(
        picture(), "a ball", seed=seed, num_frames=frames, settings=settings, **options
    )


def test_shapes_and_reproducibility(pipe: Any) -> None:
    first, again, other = made(pipe), made(pipe), made(pipe, seed=2)
    assert first.frames.shape == (1, TRAINED_FRAMES, SIZE, SIZE, 3)
    assert first.frames.dtype == np.uint8
    assert first.latents.shape == (1, 4, TRAINED_FRAMES, SIZE // 2, SIZE // 2)
    assert torch.equal(first.latents, again.latents)
    assert not torch.equal(first.latents, other.latents)
    assert first.latents.isfinite().all()


def test_one_of_many_is_that_one_alone(pipe: Any) -> None:
    both = pipe.animate(
        [picture(1), picture()], ["a cat", "a ball"], seed=[5, 1], num_frames=3, settings=SETTINGS
    )
    alone = made(pipe, frames=3)
    assert torch.equal(both.latents[1:], alone.latents)
    assert np.array_equal(both.frames[1:], alone.frames)


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance_scale": 3.0},
        {"image_guidance_scale": 2.0},
        {"guidance_rescale": 0.0},
        {"eta": 0.0},
        {"negative_prompt": "bad"},
        {"conditioning_fps": 20},
        {"start_timestep": 700},
        {"gate_scales": {0: 0.0}},
        {"num_inference_steps": 4},
        {"image_context": False},
        {"detail_guidance": False},
    ],
)
def test_every_setting_counts(pipe: Any, changes: dict[str, Any]) -> None:
    assert not torch.allclose(made(pipe).latents, made(pipe, **changes).latents, atol=1e-3)


def test_a_gate_of_zero_leaves_the_tokens_out(pipe: Any) -> None:
    """And is put back afterwards."""
    before = made(pipe).latents
    layers = len(pipe.unet.attn_processors)
    assert layers > 0
    names = {n: 0.0 for n, p in pipe.unet.named_modules() if n.endswith("attn2") and
             ".attentions." in n}  # fmt: skip
    silent = made(pipe, gate_scales=names).latents
    assert not torch.allclose(silent, before, atol=1e-3)
    assert torch.equal(made(pipe).latents, before)


def test_guidance_of_image_and_text_apart_is_the_formula(pipe: Any) -> None:
    settings = replace(SETTINGS, image_guidance_scale=2.0, guidance_scale=5.0)
    conditioner = Conditioner(pipe=pipe, device=torch.device("cpu"))
    with torch.no_grad():
        conditions = conditioner.conditions("a ball", (picture(),), TRAINED_FRAMES, settings, 8)
        assert len(conditions.branches) == 3
        scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        scheduler.set_timesteps(3)
        denoiser = Denoiser(
            unet=pipe.unet, scheduler=scheduler, conditions=conditions, settings=settings,
            trained_frames=TRAINED_FRAMES,
        )  # fmt: skip
        z = torch.randn(1, 4, TRAINED_FRAMES, 8, 8, generator=torch.Generator().manual_seed(3))
        timestep = scheduler.timesteps[1]

        def alone(branch: Any) -> Tensor:
            sample = torch.cat([z, conditions.detail], dim=1)
            return pipe.unet(
                sample, timestep, branch.text, image_tokens=branch.image, motion=torch.tensor([8])
            ).sample

        nothing, image, full = (alone(branch) for branch in conditions.branches)
        expected = rescale_guidance(
            multi_condition_guidance(nothing, image, full, 2.0, 5.0), full, 0.7
        )
        assert (denoiser.predict(z, timestep) - expected).abs().max() < 1e-4
        assert torch.equal(conditions.branches[0].text, conditions.branches[1].text)
        assert torch.equal(conditions.branches[1].image, conditions.branches[2].image)


def test_branches_one_after_the_other_are_the_same(pipe: Any) -> None:
    lean = made(pipe, memory=MemoryPlan(sequential_guidance=True, decode_chunk=1))
    assert (lean.latents - made(pipe).latents).abs().max() < 1e-3


def test_an_image_scale_of_one_and_no_guidance_work(pipe: Any) -> None:
    """The published code crashes with the first."""
    assert made(pipe, image_guidance_scale=1.0).latents.isfinite().all()
    free = made(pipe, guidance_scale=1.0, guidance_rescale=0.0).latents
    assert free.isfinite().all()
    equal = made(pipe, image_guidance_scale=7.5).latents
    assert torch.equal(equal, made(pipe).latents)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 25, 33])
def test_no_number_of_steps_breaks_it(pipe: Any, steps: int) -> None:
    """With η = 1 and zero terminal SNR the published code gives NaN at some, such as 7 and 25."""
    clip = made(pipe, num_inference_steps=steps, frames=2)
    assert clip.latents.isfinite().all()


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 11])
def test_clips_of_any_length(pipe: Any, frames: int) -> None:
    told = []
    clip = made(pipe, frames=frames, progress=lambda done, total: told.append((done, total)))
    assert clip.frames.shape[1] == frames
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_exact_first_frame(pipe: Any) -> None:
    clip, plain = made(pipe, exact_first_frame=True), made(pipe)
    assert np.array_equal(clip.frames[0, 0], picture())
    assert not np.array_equal(plain.frames[0, 0], picture())
    assert torch.equal(clip.latents, plain.latents)


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (9, 11), (100, 64)])
def test_pictures_of_any_shape_cover_the_frame(pipe: Any, shape: tuple[int, int]) -> None:
    """The published code pads those narrower than the frame with bars."""
    seen = []
    handle = pipe.vae.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    white = np.full((*shape, 3), 255, np.uint8)
    try:
        pipe.animate(white, "a", seed=1, num_frames=2, settings=SETTINGS)
    finally:
        handle.remove()
    assert seen[0].shape == (1, 3, SIZE, SIZE)
    assert (seen[0] == 1).all()


def test_interpolation_sees_both_ends() -> None:
    pipe = tiny_dynamicrafter(interpolates=True)
    first = made(pipe, last_frame=picture(1), exact_first_frame=True)
    assert np.array_equal(first.frames[0, 0], picture())
    assert np.array_equal(first.frames[0, -1], picture(1))
    loop = made(pipe, last_frame=picture())
    assert not torch.allclose(first.latents, loop.latents, atol=1e-3)
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        made(pipe, last_frame=picture(1))
    finally:
        handle.remove()
    detail = seen[0][:, 4:]
    assert (detail[:, :, 1:-1] == 0).all()
    assert detail[:, :, 0].abs().min() > 0
    assert not torch.equal(detail[:, :, 0], detail[:, :, -1])


def test_what_a_network_does_not_take_is_not_given() -> None:
    """The models of the ablations: detail guidance without context, and the other way round."""
    unet = tiny_dynamicrafter_unet(image_context=False, image_gate=False)
    without_context = tiny_dynamicrafter(unet=unet, image_encoder=None, image_context=None)
    without_guidance = tiny_dynamicrafter(unet=tiny_dynamicrafter_unet(in_channels=4))
    for pipe in (without_context, without_guidance):
        assert pipe.needs_picture
        other = pipe.animate(picture(1), "a ball", seed=1, num_frames=3, settings=SETTINGS)
        assert not torch.allclose(made(pipe, frames=3).latents, other.latents, atol=1e-3)


def test_the_class_token_alone() -> None:
    """P is then shown one token of CLIP, as at training."""
    pipe, shown = tiny_dynamicrafter(global_token_only=True), []
    pipe.image_context.register_forward_pre_hook(lambda module, args: shown.append(args[0].shape))
    made(pipe)
    assert {shape[1] for shape in shown} == {1}


def test_text_alone() -> None:
    unet = tiny_dynamicrafter_unet(in_channels=4, image_context=False, image_gate=False)
    pipe = tiny_dynamicrafter(unet=unet, image_encoder=None, image_context=None)
    clip = pipe.animate(None, "a ball", seed=1, num_frames=3, settings=SETTINGS)
    assert clip.frames.shape == (1, 3, SIZE, SIZE, 3)
    with pytest.raises(InputError, match="text alone"):
        made(pipe)


def test_saved_and_loaded_it_is_the_same(pipe: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "model")
    loaded = DynamiCrafterPipeline.from_pretrained(tmp_path / "model")
    plain = {"savings": Savings.none()}
    assert torch.equal(made(loaded, **plain).latents, made(pipe, **plain).latents)
    # Loaded weights begin anywhere in memory, on which the product of a single row, such as the
    # time embedding, depends by a rounding.
    assert (made(loaded).latents - made(pipe).latents).abs().max() < 1e-4
    assert loaded.model_fingerprint == pipe.model_fingerprint
    assert loaded.config.pace_kind == "conditioning_fps"
    with pytest.raises(ModelError, match="no model folder"):
        DynamiCrafterPipeline.from_pretrained(tmp_path / "nowhere")


def test_parts_of_another_folder(pipe: Any, tmp_path: Path) -> None:
    """Where the description says so: two models can have one VAE."""
    pipe.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "vae").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="lacks vae"):
        resolve_model(str(tmp_path / "model"))
    description = tmp_path / "model" / "stillmotion.json"
    description.write_text(json.dumps({"shared_parts": {"vae": "../elsewhere"}}))
    resolve_model(str(tmp_path / "model"))
    loaded = DynamiCrafterPipeline.from_pretrained(tmp_path / "model")
    assert loaded.model_fingerprint == pipe.model_fingerprint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame_stride": 3}, "not trained with frame_stride; give conditioning_fps"),
        ({"height": 17}, "height is 17; give a multiple of 4"),
        ({"frames": 0}, "num_frames is 0"),
        ({"last_frame": picture(1)}, "not trained to end"),
    ],
)
def test_what_cannot_be(pipe: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(pipe, **options)


def test_an_interpolation_needs_its_second_picture() -> None:
    with pytest.raises(InputError, match="give last_frame"):
        made(tiny_dynamicrafter(interpolates=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"guidance_rescale": 1.5}, "guidance_rescale is 1.5; give a number from 0 to 1"),
        ({"eta": -1}, "eta is -1"),
        ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
        ({"frame_stride": 3, "conditioning_fps": 8}, "knows one of them"),
        ({"height": 0}, "height is 0"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StillmotionError, match=said):
        DynamiCrafterSettings(**changes)
