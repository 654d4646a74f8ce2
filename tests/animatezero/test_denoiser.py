"""What the U-Net is called with, together and half by half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.tiny_models import tiny_scheduler
from torch import Tensor, nn

from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.runtime.memory import MemoryPlan

NUM_FRAMES = 3


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Recorder(nn.Module):
    """Keeps what it is called with; its prediction depends on each row's own text."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def forward(self, rows: Tensor, timestep: Tensor, **options: Any) -> tuple[Tensor]:
        self.calls.append({"rows": rows, **options})
        text = options["encoder_hidden_states"].mean((-2, -1))
        return (rows + text.view(len(rows), 1, -1, 1, 1),)


def denoiser(num_rows: int = NUM_FRAMES, *, guided: bool = True, **changes: Any) -> Denoiser:
    scheduler = tiny_scheduler()
    scheduler.set_timesteps(3)
    one = Denoiser(
        unet=Recorder(),
        scheduler=scheduler,
        prompt_embeds=random((1 + guided) * num_rows, 5, 8, seed=1),
        guidance_scale=3.0,
        uses_guidance=guided,
        step_options={},
    )
    return replace(one, **changes)


Z, T = random(1, 4, NUM_FRAMES, 2, 2), torch.tensor(500)


@pytest.mark.parametrize("sequential", [False, True])
def test_guidance_starts_from_the_unconditional_half(sequential: bool) -> None:
    one = denoiser(sequential_guidance=sequential)
    texts = one.prompt_embeds.mean((-2, -1)).view(2, 1, NUM_FRAMES, 1, 1)
    expected = Z + texts[:1] + 3.0 * (texts[1:] - texts[:1])
    assert (one.predict(Z, T) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("guided", [False, True])
def test_halves_are_called_together_or_one_after_the_other(guided: bool) -> None:
    halves = 1 + guided
    images = (random(halves, 1, 6, seed=2), random(halves, 1, 4, 7, seed=3))
    joint = denoiser(guided=guided, image_embeds=images)
    joint.predict(Z, T)
    (call,) = joint.unet.calls
    assert torch.equal(call["rows"], Z.expand(halves, *Z.shape[1:]))
    assert torch.equal(call["encoder_hidden_states"], joint.prompt_embeds)
    for given, image in zip(call["added_cond_kwargs"]["image_embeds"], images, strict=True):
        assert torch.equal(given, image)

    apart = denoiser(guided=guided, image_embeds=images, sequential_guidance=True)
    apart.predict(Z, T)
    assert len(apart.unet.calls) == halves
    for half, call in enumerate(apart.unet.calls):
        own = slice(half * NUM_FRAMES, (half + 1) * NUM_FRAMES)
        assert torch.equal(call["rows"], Z)
        assert torch.equal(call["encoder_hidden_states"], apart.prompt_embeds[own])
        for given, image in zip(call["added_cond_kwargs"]["image_embeds"], images, strict=True):
            assert torch.equal(given, image[half : half + 1])


def test_nothing_is_said_of_what_is_not_there() -> None:
    one = denoiser()
    one.predict(Z, T)
    assert set(one.unet.calls[0]) == {"rows", "encoder_hidden_states", "return_dict"}


@pytest.mark.parametrize("sequential", [False, True])
def test_reference_rows_run_beside_and_are_left_out(sequential: bool) -> None:
    reference = random(1, 4, 2, 2, 2, seed=4)
    one = denoiser(NUM_FRAMES + 2, sequential_guidance=sequential)
    prediction = one.predict(Z, T, reference)
    for call in one.unet.calls:
        for copy in call["rows"]:
            assert torch.equal(copy, torch.cat([reference, Z], dim=2)[0])
    texts = one.prompt_embeds.mean((-2, -1)).view(2, 1, NUM_FRAMES + 2, 1, 1)[:, :, 2:]
    expected = Z + texts[:1] + 3.0 * (texts[1:] - texts[:1])
    assert (prediction - expected).abs().max() < 1e-5


def test_a_clip_is_the_same_with_halves_one_after_the_other(pipe, still) -> None:
    batches: list[int] = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    try:
        joint = pipe.animate(still, seed=3, num_frames=4).latents
        plan = MemoryPlan(sequential_guidance=True)
        apart = pipe.animate(still, seed=3, num_frames=4, memory=plan).latents
    finally:
        handle.remove()
    assert batches == [2] * 3 + [1] * 6
    assert (apart - joint).abs().max() < 1e-5 * joint.abs().max()
