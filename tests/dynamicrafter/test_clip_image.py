"""What CLIP is shown, against kornia's own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.dynamicrafter.clip_image import clip_input, resized

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "dynamicrafter"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not here")


def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "clip_image_resize.safetensors")


def pictures() -> list[str]:
    if not GOLDEN.is_dir():
        return []
    return sorted({name.split(".")[0] for name in golden()})


@needs_golden
@pytest.mark.parametrize("name", pictures())
def test_it_is_what_the_authors_code_gives(name: str) -> None:
    numbers = {k.partition(".")[2]: v for k, v in golden().items() if k.startswith(f"{name}.")}
    image = numbers["image_uint8_CHW"][None].float() / 127.5 - 1
    image = image.expand(-1, 3, -1, -1)

    def check(mine: Tensor, key: str, tolerance: float) -> None:
        theirs = numbers[key]
        theirs = theirs.reshape(-1, *theirs.shape[-3:]) if theirs.ndim > 2 else theirs
        assert (mine - theirs).abs().max() < tolerance

    check(resized(image, (28, 28)), "resized_28", 1e-5)
    check(resized(image, (224, 224))[..., ::8, ::8], "resized_224_every_8th", 1e-5)
    check(clip_input(image, 224)[..., ::8, ::8], "clip_input_224_every_8th", 1e-4)


def test_a_picture_of_that_size_stays() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert (resized(image, (8, 8)) - image).abs().max() < 1e-6


def test_one_colour_stays_one_colour() -> None:
    for size in ((5, 40), (40, 5)):
        grey = torch.full((1, 3, 20, 20), 0.25)
        assert (resized(grey, size) - 0.25).abs().max() < 1e-6
