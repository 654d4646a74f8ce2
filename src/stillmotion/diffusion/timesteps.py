"""Sampling timesteps: which of the training timesteps a sampler visits.

Tables are int64 and strictly descending, the noisiest timestep first.  A `span` of T means the
timesteps 0..T−1: all of training, or fewer where sampling starts later.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from stillmotion.diffusion.schedule import NUM_TRAIN_TIMESTEPS
from stillmotion.errors import InputError, ModelError

TimestepSpacing = Literal["leading", "trailing"]
"""diffusers' names; DynamiCrafter's code says "uniform" and "uniform_trailing"."""


def leading_timesteps(num_steps: int, span: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """⌊i T / n⌋ + 1 for i = n−1..0: int64 (num_steps).

    Where n divides T this is the published i ⌊T / n⌋ + 1 (Lin et al., arXiv:2305.08891, table 2).
    Elsewhere that rule stops short of T in diffusers, and goes on beyond n entries, at times
    beyond T−1, in DynamiCrafter's code; here exactly n entries are spread over all of T.
    n = T takes every timestep, T−1..0.  Raises InputError unless 1 <= num_steps <= span.
    """
    _check_num_steps(num_steps, span)
    offset = int(num_steps < span)
    return torch.tensor([i * span // num_steps + offset for i in reversed(range(num_steps))])


def trailing_timesteps(num_steps: int, span: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """round(T − i T / n) − 1 for i = 0..n−1, halves to even: int64 (num_steps), T−1 first.

    Lin et al., arXiv:2305.08891, table 2.  The published code steps in floating point, which at
    some n (61, 103, 121, ...) adds a last entry of −1; that one is cut off, all others are kept
    as they are.  Raises InputError unless 1 <= num_steps <= span.
    """
    _check_num_steps(num_steps, span)
    steps = np.round(np.arange(span, 0, -span / num_steps))[:num_steps] - 1
    return torch.from_numpy(steps.astype(np.int64))


def spaced_timesteps(
    spacing: TimestepSpacing, num_steps: int, span: int = NUM_TRAIN_TIMESTEPS
) -> Tensor:
    """The table of a spacing.  Raises InputError as the tables do, ModelError for a spacing."""
    check_spacing(spacing)
    table = leading_timesteps if spacing == "leading" else trailing_timesteps
    return table(num_steps, span)


def given_timesteps(timesteps: Sequence[int] | Tensor, span: int = NUM_TRAIN_TIMESTEPS) -> Tensor:
    """A table of one's own as int64 (n).

    Raises InputError unless it is strictly descending, of integers in 0..span−1.
    """
    table = timesteps.tolist() if isinstance(timesteps, Tensor) else timesteps
    try:
        values = np.asarray(table)
    except ValueError:  # rows of different lengths
        values = np.empty(0)
    usable = values.ndim == 1 and values.size > 0 and np.issubdtype(values.dtype, np.integer)
    if not usable or values[0] >= span or values[-1] < 0 or (np.diff(values) >= 0).any():
        raise InputError(
            f"The timesteps {reprlib.repr(table)} cannot be sampled at; give integers that descend "
            f"strictly, from {span - 1} at most to 0 at least."
        )
    return torch.from_numpy(values.astype(np.int64))


def check_spacing(spacing: str) -> None:
    """Raises ModelError for a name that is not a `TimestepSpacing`."""
    if spacing not in get_args(TimestepSpacing):
        raise ModelError(
            f"the model's scheduler spaces its timesteps {spacing!r}; it can be "
            f"{', '.join(get_args(TimestepSpacing))}"
        )


def _check_num_steps(num_steps: int, span: int) -> None:
    if not isinstance(num_steps, int) or not 1 <= num_steps <= span:
        raise InputError(
            f"{num_steps!r} sampling steps cannot be made; give a whole number from 1 to {span}, "
            "as many as there are timesteps to visit."
        )
