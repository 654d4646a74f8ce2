"""What a network predicts: the noise, the velocity or the clean latent, and each from the other.

All rest on z_t = √ᾱ_t z_0 + √(1 − ᾱ_t) ε.  `z_t`, predictions and results have one shape, any;
`alpha_bar_t` in 0..1 is a number or is broadcast.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from stillmotion.errors import ModelError

PredictionType = Literal["epsilon", "v_prediction", "sample"]
"""diffusers' names for a network that predicts ε, v or z_0."""


def velocity(z_0: Tensor, noise: Tensor, alpha_bar_t: Tensor | float) -> Tensor:
    """v = √ᾱ_t ε − √(1 − ᾱ_t) z_0 (Salimans & Ho, arXiv:2202.00512), `alpha_bar_t` broadcast."""
    signal, deviation = _roots(alpha_bar_t, z_0)
    return signal * noise - deviation * z_0


def clean_from_velocity(z_t: Tensor, v: Tensor, alpha_bar_t: Tensor | float) -> Tensor:
    """z_0 = √ᾱ_t z_t − √(1 − ᾱ_t) v."""
    signal, deviation = _roots(alpha_bar_t, z_t)
    return signal * z_t - deviation * v


def epsilon_from_velocity(z_t: Tensor, v: Tensor, alpha_bar_t: Tensor | float) -> Tensor:
    """ε = √ᾱ_t v + √(1 − ᾱ_t) z_t."""
    signal, deviation = _roots(alpha_bar_t, z_t)
    return signal * v + deviation * z_t


def clean_estimate(
    z_t: Tensor, prediction: Tensor, alpha_bar_t: Tensor | float, prediction_type: PredictionType
) -> Tensor:
    """The z_0 that a prediction for `z_t` stands for: "predicted x_0" of Song et al.'s Eq. 12.

    From ε it is (z_t − √(1 − ᾱ_t) ε) / √ᾱ_t, which needs ᾱ_t > 0 (arXiv:2010.02502).  Raises
    ModelError for a kind of prediction that is not known.
    """
    check_prediction_type(prediction_type)
    if prediction_type == "sample":
        return prediction
    if prediction_type == "v_prediction":
        return clean_from_velocity(z_t, prediction, alpha_bar_t)
    signal, deviation = _roots(alpha_bar_t, z_t)
    return (z_t - deviation * prediction) / signal


def noise_estimate(
    z_t: Tensor, prediction: Tensor, alpha_bar_t: Tensor | float, prediction_type: PredictionType
) -> Tensor:
    """The ε that a prediction for `z_t` stands for.

    From z_0 it is (z_t − √ᾱ_t z_0) / √(1 − ᾱ_t), which needs ᾱ_t < 1.  Raises ModelError for a
    kind of prediction that is not known.
    """
    check_prediction_type(prediction_type)
    if prediction_type == "epsilon":
        return prediction
    if prediction_type == "v_prediction":
        return epsilon_from_velocity(z_t, prediction, alpha_bar_t)
    signal, deviation = _roots(alpha_bar_t, z_t)
    return (z_t - signal * prediction) / deviation


def check_prediction_type(prediction_type: str) -> None:
    """Raises ModelError for a name that is not a `PredictionType`."""
    if prediction_type not in get_args(PredictionType):
        raise ModelError(
            f"the model's scheduler says that it predicts {prediction_type!r}; it can be "
            f"{', '.join(get_args(PredictionType))}"
        )


def _roots(alpha_bar_t: Tensor | float, like: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ_t and √(1 − ᾱ_t), the shares of signal and noise in z_t."""
    alpha_bar_t = torch.as_tensor(alpha_bar_t, dtype=like.dtype, device=like.device)
    return alpha_bar_t.sqrt(), (1 - alpha_bar_t).sqrt()
