"""Time travel (appendix B): go back to a noisier latent and denoise again, for smoother motion."""

from __future__ import annotations

from torch import Tensor

from stillmotion.diffusion.schedule import interval_alpha


def renoise(z_prev: Tensor, noise: Tensor, alpha_bar_t: Tensor, alpha_bar_prev: Tensor) -> Tensor:
    """Back from z_{t−1} to z_t: z_t = √α z_{t−1} + √(1 − α) N.

    Equation: AnimateZero Eq. 11

    α is that of the whole interval between the two sampled timesteps, ᾱ_t / ᾱ_prev, as in FreeDoM
    by the same first author: the α of one training step, read literally, would add too little
    noise when fewer than 1000 steps are sampled.  `z_prev` and fresh standard normal `noise`
    (b c f h w), `alpha_bar_*` scalars in 0..1.  Insert the still's z_t into frame 1 afterwards.
    """
    alpha = interval_alpha(alpha_bar_t, alpha_bar_prev).to(z_prev)
    return alpha.sqrt() * z_prev + (1 - alpha).sqrt() * noise
