"""The DDIM step, deterministic or with fresh noise (Song et al., arXiv:2010.02502)."""

from __future__ import annotations

import math

from torch import Tensor

from stillmotion.errors import InputError


def ddim_deviation(alpha_bar_t: float, alpha_bar_prev: float, eta: float) -> float:
    """σ = η √((1 − ᾱ_prev) / (1 − ᾱ_t) · (1 − ᾱ_t / ᾱ_prev)), Song et al.'s Eq. 16.

    η = 0 adds no noise; η = 1 adds as much as DDPM.  0 <= ᾱ_t <= ᾱ_prev, ᾱ_t < 1, ᾱ_prev > 0.
    Raises InputError for an η outside of 0..1, where no σ leaves the variance as it is.
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta is {eta}; it goes from 0 (no fresh noise) to 1 (as much as DDPM).")
    variance = (1 - alpha_bar_prev) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_prev)
    return eta * math.sqrt(max(0.0, variance))


def ddim_step(
    clean: Tensor,
    noise: Tensor,
    alpha_bar_prev: float,
    deviation: float = 0.0,
    fresh_noise: Tensor | None = None,
) -> Tensor:
    """z_prev = √ᾱ_prev ẑ_0 + √(1 − ᾱ_prev − σ²) ε̂ + σ n, Song et al.'s Eq. 12.

    `clean` ẑ_0, `noise` ε̂ (`parameterization`'s estimates for z_t) and `fresh_noise` n, standard
    normal, have one shape, any; `deviation` σ is `ddim_deviation`.  At ᾱ_t = 0 and η = 1 nothing
    of ε̂ is left, and rounding can bring its share below 0; the root is taken of 0 then, not of a
    negative number.  Raises InputError if σ > 0 and there is no fresh noise.
    """
    share = math.sqrt(max(0.0, 1 - alpha_bar_prev - deviation**2))
    z_prev = math.sqrt(alpha_bar_prev) * clean + share * noise
    if deviation == 0:
        return z_prev
    if fresh_noise is None:
        raise InputError(
            "A step with eta above 0 adds fresh noise, and none is given; give as much of it as "
            "there are latents, or eta = 0."
        )
    return z_prev + deviation * fresh_noise
