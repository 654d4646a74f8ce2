"""What is concatenated with the noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stillmotion.dynamicrafter.detail_guidance import concatenated, repeated, two_ends
from stillmotion.errors import InputError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_one_picture_stands_beside_every_frame() -> None:
    picture = noise(2, 4, 3, 5)
    guidance = repeated(picture, 6)
    assert guidance.shape == (2, 4, 6, 3, 5)
    assert all(torch.equal(frame, picture) for frame in guidance.unbind(2))


@pytest.mark.parametrize("num_frames", [2, 3, 7])
def test_two_ends_fill_the_first_and_the_last_slot_alone(num_frames: int) -> None:
    first, last = noise(2, 4, 3, 5), noise(2, 4, 3, 5, seed=1)
    guidance = two_ends(first, last, num_frames)
    assert guidance.shape == (2, 4, num_frames, 3, 5)
    assert torch.equal(guidance[:, :, 0], first)
    assert torch.equal(guidance[:, :, -1], last)
    assert not guidance[:, :, 1:-1].any()


def test_a_loop_ends_where_it_begins() -> None:
    picture = noise(1, 4, 3, 5)
    guidance = two_ends(picture, picture, 5)
    assert torch.equal(guidance[:, :, 0], picture)
    assert torch.equal(guidance[:, :, -1], picture)


def test_the_noise_comes_first() -> None:
    latents, guidance = noise(2, 4, 3, 5, 5), noise(2, 4, 3, 5, 5, seed=1)
    both = concatenated(latents, guidance)
    assert torch.equal(both[:, :4], latents)
    assert torch.equal(both[:, 4:], guidance)


def test_the_guidance_takes_the_precision_of_the_latents() -> None:
    both = concatenated(noise(1, 4, 2, 3, 3).bfloat16(), noise(1, 4, 2, 3, 3))
    assert both.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: repeated(noise(4, 3, 5), 2), "(4, 3, 5)"),
        (lambda: repeated(noise(1, 4, 3, 5), 0), "0 frames"),
        (lambda: two_ends(noise(1, 4, 3, 5), noise(1, 4, 5, 3), 4), "(1, 4, 5, 3)"),
        (lambda: two_ends(noise(1, 4, 3, 5), noise(4, 3, 5), 4), "(4, 3, 5)"),
        (lambda: two_ends(noise(1, 4, 3, 5), noise(1, 4, 3, 5), 1), "1 frames"),
        (lambda: concatenated(noise(1, 4, 2, 3, 5), noise(1, 4, 3, 3, 5)), "(1, 4, 3, 3, 5)"),
        (lambda: concatenated(noise(4, 2, 3, 5), noise(4, 2, 3, 5)), "(4, 2, 3, 5)"),
    ],
)
def test_what_does_not_fit_is_refused(call, said: str) -> None:
    with pytest.raises(InputError) as refused:
        call()
    assert said in str(refused.value)
