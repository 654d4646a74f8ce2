"""DDIM inversion: from a clean latent back to the noise that leads to it."""

from __future__ import annotations

import torch
from torch import Tensor


def ddim_inversion_step(
    z_prev: Tensor, noise: Tensor, alpha_bar_t: Tensor | float, alpha_bar_prev: Tensor | float
) -> Tensor:
    """One deterministic DDIM step backwards, from the less noisy z_prev to z_t.

        z_t = √(ᾱ_t / ᾱ_prev) z_prev + (√(1 − ᾱ_t) − √(ᾱ_t (1 − ᾱ_prev) / ᾱ_prev)) ε

    It undoes Song et al.'s Eq. 12 with σ = 0 (arXiv:2010.02502) exactly if ε is the noise that is
    predicted for z_t itself.  That is not known yet; usual is ε predicted for z_prev at timestep t
    (Mokady et al., arXiv:2211.09794, section 3.2), and predicting again for the result comes
    nearer (Pan et al., arXiv:2309.04907).  `z_prev` and `noise` have one shape; 0 <= ᾱ_t <=
    ᾱ_prev, ᾱ_prev > 0, numbers or broadcast.  Of a velocity or a clean latent, ε is
    `parameterization.noise_estimate`.
    """
    bar_t = torch.as_tensor(alpha_bar_t, dtype=z_prev.dtype, device=z_prev.device)
    bar_prev = torch.as_tensor(alpha_bar_prev, dtype=z_prev.dtype, device=z_prev.device)
    ratio = bar_t / bar_prev
    added = (1 - bar_t).sqrt() - (ratio * (1 - bar_prev)).sqrt()
    return ratio.sqrt() * z_prev + added * noise
