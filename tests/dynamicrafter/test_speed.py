"""Approximate runs of DynamiCrafter: two or three branches, windows, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.dynamicrafter.tiny_pipeline import SIZE, TRAINED_FRAMES, tiny_dynamicrafter
from torch import Tensor

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.diffusion.speed import Call, SpeedSettings
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.sampling import Branch, Conditions, Denoiser
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.errors import InputError
from stillmotion.runtime.memory import MemoryPlan

STEPS = 5
BOTH = SpeedSettings(reuse_every=2, guidance_interval=(0.0, 0.6))
TWO = DynamiCrafterSettings(num_inference_steps=STEPS, guidance_scale=3.0, guidance_rescale=0.7)
THREE = TWO.changed(image_guidance_scale=2.0)


@pytest.fixture(scope="module")
def pipe() -> DynamiCrafterPipeline:
    return tiny_dynamicrafter()


def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def latents(pipe: Any, settings: DynamiCrafterSettings = TWO, **options: Any) -> Tensor:
    made = pipe.animate(
        picture(), "a red ball", seed=1, settings=settings,
        **{"num_frames": TRAINED_FRAMES, **options},
    )  # fmt: skip
    return made.latents


def rows(pipe: Any, layer: Any, **options: Any) -> list[int]:
    """How many clips of `TRAINED_FRAMES` frames go through a layer, call by call."""
    seen: list[int] = []
    handle = layer.register_forward_hook(
        lambda _m, _i, out: seen.append(len(out) // TRAINED_FRAMES)
    )
    latents(pipe, **options)
    handle.remove()
    return seen


def test_exact_is_the_default(pipe) -> None:
    plain = latents(pipe)
    assert torch.equal(latents(pipe, speed="exact"), plain)
    assert not torch.allclose(latents(pipe, speed="fast"), plain, atol=1e-4)
    with pytest.raises(InputError, match="speed is 'warp'"):
        latents(pipe, speed="warp")


@pytest.mark.parametrize(("settings", "branches"), [(TWO, 2), (THREE, 3)])
def test_what_runs(pipe, settings: DynamiCrafterSettings, branches: int) -> None:
    options = {"settings": settings, "speed": BOTH}
    n = branches
    assert rows(pipe, pipe.unet.conv_in, **options) == [n, n, n, 1, 1]
    assert rows(pipe, pipe.unet.mid_block, **options) == [n, n, 1]


@pytest.mark.parametrize("settings", [TWO, THREE])
def test_an_empty_interval_is_no_guidance(pipe, settings: DynamiCrafterSettings) -> None:
    alone = settings.changed(guidance_scale=1.0, image_guidance_scale=1.0)
    made = latents(pipe, settings, speed=SpeedSettings(guidance_interval=(0.0, 0.0)))
    assert (made - latents(pipe, alone)).abs().max() < 1e-4


@pytest.mark.parametrize("num_frames", [TRAINED_FRAMES, TRAINED_FRAMES + 3])
@pytest.mark.parametrize("settings", [TWO, THREE])
def test_one_after_the_other_comes_to_the_same(
    pipe, settings: DynamiCrafterSettings, num_frames: int
) -> None:
    """Also of a clip of several windows, each of which has features of its own."""
    options = {"settings": settings, "speed": BOTH, "num_frames": num_frames}
    apart = latents(pipe, **options, memory=MemoryPlan(sequential_guidance=True))
    assert (latents(pipe, **options) - apart).abs().max() < 1e-4


def test_each_window_keeps_its_own_features(pipe) -> None:
    """Reused at once, with the same latents, they give what was computed."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    frames = TRAINED_FRAMES + 3
    branches = tuple(Branch(text=random(1, 3, 8), image=random(1, 4, 2, 8)) for _ in range(3))
    conditions = Conditions(
        branches=branches, detail=random(1, 4, frames, 8, 8), pace=torch.tensor([8])
    )
    reuse = FeatureReuse(1)
    denoiser = Denoiser(
        unet=pipe.unet, scheduler=pipe.scheduler, conditions=conditions, settings=THREE,
        trained_frames=TRAINED_FRAMES, reuse=reuse,
    )  # fmt: skip
    z, t = random(1, 4, frames, 8, 8), torch.tensor(500)
    with torch.no_grad(), adapted(pipe.unet, [reuse]):
        full = denoiser.predict(z, t)
        assert torch.equal(denoiser.predict(z, t, Call(guided=True, reuses=True)), full)
        other = denoiser.predict(random(*z.shape), t, Call(guided=True, reuses=True))
    assert not torch.allclose(other, full, atol=1e-3)


def test_clips_do_not_depend_on_each_other(pipe) -> None:
    alone = latents(pipe, speed=BOTH)
    pictures = [255 - picture(), picture()]
    both = pipe.animate(
        pictures, ["a cat", "a red ball"], seed=[2, 1], settings=TWO, num_frames=TRAINED_FRAMES,
        speed=BOTH,
    )  # fmt: skip
    assert torch.equal(both.latents[1:], alone)
    assert torch.equal(latents(pipe), latents(pipe, speed="exact"))
