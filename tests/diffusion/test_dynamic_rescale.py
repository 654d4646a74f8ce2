"""The scale of the clean latent against golden numbers and its own description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stillmotion.diffusion.dynamic_rescale import TURNING_STEP, dynamic_scales
from stillmotion.errors import ModelError


@pytest.mark.parametrize("base", [0.7, 0.3])
def test_scales_are_golden(base: float, golden: Path) -> None:
    theirs = load_file(golden / "dynamicrafter" / "schedules.safetensors")[f"scale_arr.base{base}"]
    ours = dynamic_scales(base, len(theirs))  # the published table is longer than training
    assert (ours - theirs).abs().max() < 1e-6
    assert torch.equal(dynamic_scales(base), ours[:1000])


def test_the_scale_falls_evenly_and_then_stays() -> None:
    scales = dynamic_scales(0.7)
    assert scales.dtype == torch.float64
    assert scales[0] == 1
    slopes = scales[:TURNING_STEP].diff()
    assert (slopes + 0.3 / (TURNING_STEP - 1)).abs().max() < 1e-12
    assert (scales[TURNING_STEP - 1 :] == 0.7).all()


def test_short_trainings_see_the_beginning_of_it() -> None:
    assert torch.equal(dynamic_scales(0.3, 50), dynamic_scales(0.3)[:50])


def test_one_is_no_rescaling() -> None:
    assert (dynamic_scales(1.0) == 1).all()


@pytest.mark.parametrize("base", [0.0, -0.5, 1.2, float("nan")])
def test_impossible_scales_are_told(base: float) -> None:
    with pytest.raises(ModelError, match="above 0 and at most 1"):
        dynamic_scales(base)
