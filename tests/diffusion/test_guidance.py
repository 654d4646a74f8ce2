"""Guidance against golden numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from stillmotion.diffusion.guidance import classifier_free_guidance


def test_classifier_free_guidance_matches_golden(golden: Path) -> None:
    numbers = load_file(golden / "dynamicrafter" / "cfg.safetensors")
    ours = classifier_free_guidance(numbers["e_uncond"], numbers["e_full"], 7.5)
    assert (ours - numbers["cfg"]).abs().max() < 1e-5


def test_scale_one_is_the_conditional_prediction() -> None:
    assert torch.equal(
        classifier_free_guidance(torch.zeros(3), torch.arange(3.0), 1.0), torch.arange(3.0)
    )
