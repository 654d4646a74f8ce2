"""What a network predicts: the noise or the velocity, in terms of the clean latent."""

from __future__ import annotations

import torch
from torch import Tensor


def velocity(z_0: Tensor, noise: Tensor, alpha_bar_t: Tensor | float) -> Tensor:
    """v = √ᾱ_t ε − √(1 − ᾱ_t) z_0 (Salimans & Ho, arXiv:2202.00512), `alpha_bar_t` broadcast."""
    alpha_bar_t = torch.as_tensor(alpha_bar_t, dtype=z_0.dtype, device=z_0.device)
    return alpha_bar_t.sqrt() * noise - (1 - alpha_bar_t).sqrt() * z_0
