"""Whether contenders make the same thing: checked before any of them is timed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stillmotion.benchmarks.contenders import Made

TOLERANCE = 1e-3
"""The largest error that rounding in float32 may leave after a few steps, as a share of the
deviation of what it is compared with."""
STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far latents are from those of the reference, as shares of their deviation."""

    against: str
    max_error: float
    mean_error: float

    @property
    def holds(self) -> bool:
        """Whether they are the same but for rounding; never for a number that is none."""
        return self.max_error <= TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How near the frames of an approximation come to the exact ones."""

    against: str
    psnr: float
    """Of all frames, in dB; infinite if they are equal."""
    first_frame_error: float
    """Mean squared, of frame 1, pixels in 0..1."""


def parity(made: Made, reference: Made, against: str) -> Parity:
    """How far `made` is from `reference`; other shapes are infinitely far."""
    ours, theirs = (each.latents.detach().double().cpu() for each in (made, reference))
    if ours.shape != theirs.shape:
        return Parity(against=against, max_error=math.inf, mean_error=math.inf)
    scale = float(theirs.std()) or 1.0
    errors = (ours - theirs).abs() / scale
    return Parity(against=against, max_error=float(errors.max()), mean_error=float(errors.mean()))


def likeness(made: Made, exact: Made, against: str) -> Likeness | None:
    """How like the frames of `exact` those of `made` are; None if one has no frames."""
    if made.frames is None or exact.frames is None or made.frames.shape != exact.frames.shape:
        return None
    ours, theirs = (each.frames.astype(np.float64) / 255 for each in (made, exact))  # type: ignore[union-attr]
    error = float(np.mean((ours - theirs) ** 2))
    return Likeness(
        against=against,
        psnr=-10 * math.log10(error) if error else math.inf,
        first_frame_error=float(np.mean((ours[0] - theirs[0]) ** 2)),
    )


def is_finite(latents: Tensor) -> bool:
    """Whether every number is one."""
    return bool(torch.isfinite(latents).all())
