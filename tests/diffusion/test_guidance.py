"""Guidance against golden numbers, and what must hold of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.diffusion.guidance import (
    classifier_free_guidance,
    multi_condition_guidance,
    rescale_guidance,
)


@pytest.fixture
def predictions() -> tuple[Tensor, Tensor, Tensor]:
    """u, i and c of two samples (b c f h w), float64."""
    generator = torch.Generator().manual_seed(0)
    u, i, c = torch.randn((3, 2, 4, 3, 2, 2), generator=generator, dtype=torch.float64)
    return u, i, c


def test_guidance_matches_golden(golden: Path) -> None:
    numbers = load_file(golden / "dynamicrafter" / "cfg.safetensors")
    u, i, c = (numbers[f"e_{name}"] for name in ("uncond", "img", "full"))
    plain = classifier_free_guidance(u, c, 7.5)
    multi = multi_condition_guidance(u, i, c, 3.0, 7.5)
    assert (plain - numbers["cfg"]).abs().max() < 1e-5
    assert (multi - numbers["multi"]).abs().max() < 1e-5
    assert (rescale_guidance(plain, c, 0.7) - numbers["cfg_rescaled"]).abs().max() < 1e-5
    assert (rescale_guidance(multi, c, 0.7) - numbers["multi_rescaled"]).abs().max() < 1e-5


def test_scale_one_is_the_conditional_prediction() -> None:
    assert torch.equal(
        classifier_free_guidance(torch.zeros(3), torch.arange(3.0), 1.0), torch.arange(3.0)
    )


def test_one_scale_for_both_is_plain_guidance(predictions: tuple[Tensor, Tensor, Tensor]) -> None:
    u, i, c = predictions
    plain = classifier_free_guidance(u, c, 7.5)
    assert (multi_condition_guidance(u, i, c, None, 7.5) - plain).abs().max() < 1e-12
    assert (multi_condition_guidance(u, i, c, 7.5, 7.5) - plain).abs().max() < 1e-12


def test_an_image_scale_of_zero_is_not_none(predictions: tuple[Tensor, Tensor, Tensor]) -> None:
    u, i, c = predictions
    assert (multi_condition_guidance(u, i, c, 0.0, 1.0) - (u + c - i)).abs().max() < 1e-12


def test_scales_of_one_leave_the_full_prediction(
    predictions: tuple[Tensor, Tensor, Tensor],
) -> None:
    u, i, c = predictions
    assert (multi_condition_guidance(u, i, c, 1.0, 1.0) - c).abs().max() < 1e-12
    assert (multi_condition_guidance(u, i, c, 1.0, 0.0) - i).abs().max() < 1e-12


def test_rescaling_gives_each_sample_the_deviation_of_its_own(
    predictions: tuple[Tensor, Tensor, Tensor],
) -> None:
    _, guided, c = predictions
    guided = guided * torch.tensor([4.0, 0.5]).reshape(2, 1, 1, 1, 1)
    full = rescale_guidance(guided, c, 1.0)
    half = rescale_guidance(guided, c, 0.5)
    for sample in range(2):
        assert (full[sample].std() - c[sample].std()).abs() < 1e-12
        mean = (guided[sample].std() + c[sample].std()) / 2
        assert (half[sample].std() - mean).abs() < 1e-12
        alone = rescale_guidance(guided[sample : sample + 1], c[sample : sample + 1], 0.5)
        assert (alone[0] - half[sample]).abs().max() < 1e-12


def test_no_rescaling_is_the_same_tensor(predictions: tuple[Tensor, Tensor, Tensor]) -> None:
    _, guided, c = predictions
    assert rescale_guidance(guided, c, 0.0) is guided


def test_a_constant_prediction_is_left_as_it_is(
    predictions: tuple[Tensor, Tensor, Tensor],
) -> None:
    """A network whose last layer is still zero: nothing to rescale, and no NaN."""
    *_, c = predictions
    zeros = torch.zeros_like(c)
    assert torch.equal(rescale_guidance(zeros, c, 0.7), zeros)
