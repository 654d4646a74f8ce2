"""Noise of the frames of a video.  Plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def correlated_noise(noise: Tensor, correlation: float) -> Tensor:
    """Noise of which neighbouring frames share a part: n_i = ρ n_{i−1} + √(1 − ρ²) ε_i, n_1 = ε_1.

    Every frame stays standard normal, and frames k apart have the correlation ρ^k: an
    autoregressive process, "progressive" noise in Ge et al., arXiv:2305.10474.  `noise`
    (b c f h w) independent and standard normal, `correlation` ρ in 0..1; 0 gives `noise` itself.
    """
    if correlation == 0:
        return noise
    share = (1 - correlation**2) ** 0.5
    frames = [noise[:, :, 0]]
    for fresh in noise.unbind(2)[1:]:
        frames.append(correlation * frames[-1] + share * fresh)
    return torch.stack(frames, dim=2)
