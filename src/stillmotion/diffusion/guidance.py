"""Guidance: one prediction out of several."""

from __future__ import annotations

import torch
from torch import Tensor


def classifier_free_guidance(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u + s (c − u): s = 1 is the conditional prediction, larger s follows the prompt more."""
    return unconditional + scale * (conditional - unconditional)


def multi_condition_guidance(
    unconditional: Tensor,
    image_only: Tensor,
    full: Tensor,
    image_scale: float | None,
    text_scale: float,
) -> Tensor:
    """u + s_img (i − u) + s_txt (c − i): image and text guide with a scale each.

    Predictions without any condition (u), with the image alone (i) and with image and text (c),
    one shape.  No `image_scale` means that of the text, which leaves u + s_txt (c − u).
    DynamiCrafter (arXiv:2310.12190) from Brooks et al., arXiv:2211.09800, Eq. 3.
    """
    image_scale = text_scale if image_scale is None else image_scale
    by_image = classifier_free_guidance(unconditional, image_only, image_scale)
    return by_image + text_scale * (full - image_only)


def rescale_guidance(guided: Tensor, conditional: Tensor, phi: float) -> Tensor:
    """φ m std(c) / std(m) + (1 − φ) m: against the contrast that strong guidance adds.

    `guided` m and `conditional` c (b ...), φ in 0..1: 0 leaves m as it is, 1 gives it the
    deviation of c.  std is taken of each sample over all other axes, unbiased (Lin et al.,
    arXiv:2305.08891, Eq. 15-16).  A sample without any deviation is left as it is.
    """
    if phi == 0:
        return guided
    target, deviation = _sample_deviation(conditional), _sample_deviation(guided)
    ratio = torch.where(deviation > 0, target / deviation, 1.0)
    return (phi * ratio + (1 - phi)) * guided


def _sample_deviation(x: Tensor) -> Tensor:
    """(b ...) -> (b 1 ...), the deviation of each sample."""
    return x.std(dim=tuple(range(1, x.ndim)), keepdim=True)
