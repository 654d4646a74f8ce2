"""Guidance: one prediction out of several."""

from __future__ import annotations

from torch import Tensor


def classifier_free_guidance(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u + s (c − u): s = 1 is the conditional prediction, larger s follows the prompt more."""
    return unconditional + scale * (conditional - unconditional)
