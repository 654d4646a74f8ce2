"""From latents to frames, also where memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffPipeline, AutoencoderKL
from numpy.typing import NDArray
from tests.tiny_models import tiny_components, tiny_vae
from torch import Tensor

from stillmotion.media.pixels import to_pixels
from stillmotion.models.decoding import DecodeMemoryError, decode


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    return tiny_vae()


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.randn(1, 4, 11, 16, 12, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def frames(vae: AutoencoderKL, latents: Tensor) -> NDArray[np.uint8]:
    return decode(vae, latents)


class Cramped:
    """Decodes at most `most` frames at once, of at most `side` latents' height and width."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, vae: AutoencoderKL, most: int, side: int):
        self.asked: list[int] = []
        decoder = vae.decoder.forward

        def forward(rows: Tensor) -> Tensor:
            self.asked.append(len(rows))
            if len(rows) > most or max(rows.shape[-2:]) > side:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            result: Tensor = decoder(rows)
            return result

        monkeypatch.setattr(vae.decoder, "forward", forward)


def test_frames_are_those_of_diffusers(
    vae: AutoencoderKL, latents: Tensor, frames: NDArray[np.uint8]
) -> None:
    pipe = AnimateDiffPipeline(**tiny_components(vae=vae))
    with torch.inference_mode():
        expected = to_pixels(pipe.decode_latents(latents, 8)[0].transpose(0, 1))
    assert frames.dtype == np.uint8
    assert frames.shape == (11, 32, 24, 3)
    assert np.array_equal(frames, expected)
    assert frames.std() > 10


def differ_by_rounding(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    difference = np.abs(a.astype(int) - b)
    return bool(difference.max() <= 1 and (difference != 0).mean() < 1e-3)


@pytest.mark.parametrize("chunk", [1, 2, 5, 11, 64])
def test_another_chunk_changes_at_most_the_rounding(
    vae: AutoencoderKL, latents: Tensor, frames: NDArray[np.uint8], chunk: int
) -> None:
    assert differ_by_rounding(decode(vae, latents, chunk), frames)


def test_too_large_chunks_are_halved(
    vae: AutoencoderKL, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = decode(vae, latents, 2)
    said: list[str] = []
    cramped = Cramped(monkeypatch, vae, most=2, side=16)
    assert np.array_equal(decode(vae, latents, say=said.append), expected)
    assert cramped.asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert said == [
        "not enough memory to decode the frames; going on with 4 at a time",
        "not enough memory to decode the frames; going on with 2 at a time",
    ]


def test_the_last_resort_is_tiles(
    vae: AutoencoderKL,
    latents: Tensor,
    frames: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = dict(vars(vae))
    said: list[str] = []
    cramped = Cramped(monkeypatch, vae, most=1, side=8)
    tiled = decode(vae, latents[:, :, :2], 2, say=said.append)
    assert tiled.shape == frames[:2].shape
    assert cramped.asked[:2] == [2, 1]
    assert said[-1].endswith("going on with one frame in tiles")
    # Tiles see less of the picture, so they differ, but it is the picture.
    correlation = np.corrcoef(tiled.ravel(), frames[:2].ravel())[0, 1]
    assert 0.9 < correlation < 1
    assert {name: vars(vae)[name] for name in before} == before


def test_in_the_end_the_latents_are_handed_back(
    vae: AutoencoderKL, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(vars(vae))
    Cramped(monkeypatch, vae, most=0, side=0)
    with pytest.raises(DecodeMemoryError, match="decode latents of 11 frames of 12 x 16, ") as told:
        decode(vae, latents)
    assert torch.equal(told.value.latents, latents)
    assert {name: vars(vae)[name] for name in before} == before


def test_other_errors_pass(
    vae: AutoencoderKL, latents: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Tensor:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(vae.decoder, "forward", broken)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        decode(vae, latents)


def test_latents_come_in_any_precision(
    vae: AutoencoderKL, latents: Tensor, frames: NDArray[np.uint8]
) -> None:
    assert differ_by_rounding(decode(vae, latents.double()), frames)
