"""Noise schedules and the Gaussian forward process.

Symbols: ᾱ_t (`alpha_bar_t`) is the cumulative product of 1 − β up to timestep t, that is, the
share of the clean signal's power left in z_t; z_0 is a clean latent and ε standard normal noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NUM_TRAIN_TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012


def linear_betas(
    num_timesteps: int = NUM_TRAIN_TIMESTEPS, start: float = BETA_START, end: float = BETA_END
) -> Tensor:
    """AnimateDiff's schedule: β on an even grid.  float64 (num_timesteps)."""
    return torch.linspace(start, end, num_timesteps, dtype=torch.float64)


def scaled_linear_betas(
    num_timesteps: int = NUM_TRAIN_TIMESTEPS, start: float = BETA_START, end: float = BETA_END
) -> Tensor:
    """Stable Diffusion's schedule: √β on an even grid.  float64 (num_timesteps)."""
    return torch.linspace(start**0.5, end**0.5, num_timesteps, dtype=torch.float64) ** 2


def zero_terminal_snr_betas(betas: Tensor) -> Tensor:
    """The schedule shifted and stretched so that nothing of the signal is left at its end.

    √ᾱ_t keeps its first value, falls to exactly 0 at the last timestep, and stays an affine map of
    what it was (Lin et al., arXiv:2305.08891, Algorithm 1).  Shape and dtype of `betas`, two at
    least; the last β becomes 1.
    """
    signal = alphas_cumprod(betas).sqrt()
    signal = (signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))
    before = torch.cat([signal.new_ones(1), signal[:-1]])
    return 1 - (signal / before) ** 2


def alphas_cumprod(betas: Tensor) -> Tensor:
    """ᾱ_t = Π_{u ≤ t} (1 − β_u), of the shape and dtype of `betas`."""
    return torch.cumprod(1 - betas, dim=0)


def interval_alpha(alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """α of the whole interval between two sampled timesteps: ᾱ_t / ᾱ_prev, in 0..1.

    `alpha_bar_prev` belongs to the less noisy end.  On a schedule with fewer sampling steps than
    training steps this, and not the α of a single training step, leads from z_prev back to z_t.
    """
    return alpha_bar_t / alpha_bar_prev


def q_sample(z_0: Tensor, noise: Tensor, alpha_bar_t: Tensor | float) -> Tensor:
    """Forward process: z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε, with `alpha_bar_t` broadcast to `z_0`."""
    alpha_bar_t = torch.as_tensor(alpha_bar_t, dtype=z_0.dtype, device=z_0.device)
    return alpha_bar_t.sqrt() * z_0 + (1 - alpha_bar_t).sqrt() * noise


def q_sample_gaussian(
    noise: Tensor, mean: Tensor, variance: Tensor | float, alpha_bar_t: float
) -> Tensor:
    """z_t of data known by mean and variance alone: √ᾱ_t m + √(1 − ᾱ_t + ᾱ_t s²) ε.

    A start for sampling that begins before the noise is complete, nearer to what the network was
    trained on than pure noise: "analytic noise initialization" (Zhao et al., arXiv:2406.15735),
    where m is E[z_0] and s² the mean of its variances over all elements, tr(Cov[z_0]) / d.
    `noise` standard normal, any shape; `mean` and `variance` are broadcast to it.
    """
    left = 1 - alpha_bar_t + alpha_bar_t * variance
    deviation = torch.as_tensor(left, dtype=noise.dtype, device=noise.device).sqrt()
    return math.sqrt(alpha_bar_t) * mean + deviation * noise
