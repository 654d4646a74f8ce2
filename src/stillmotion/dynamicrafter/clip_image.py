"""A picture as CLIP's image encoder was shown it when DynamiCrafter was trained.

The official code resizes by kornia (0.9.0: `resize(..., bicubic, align_corners=True,
antialias=True)`): a Gaussian blur, then bicubic interpolation whose corners meet the corners.
PyTorch's own `antialias=True` is another filter.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_LEAST_SIGMA = 0.001
_LEAST_KERNEL = 3


def clip_input(images: Tensor, size: int) -> Tensor:
    """Pictures (b 3 h w) in -1..1 -> (b 3 size size), resized and in CLIP's mean and deviation.

    The whole picture is taken and brought to a square: what is wide becomes narrow.
    """
    unit = (resized(images, (size, size)) + 1) / 2
    mean, deviation = (
        torch.tensor(values, dtype=unit.dtype, device=unit.device).view(3, 1, 1)
        for values in (CLIP_MEAN, CLIP_DEVIATION)
    )
    return (unit - mean) / deviation


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (b c h w) brought to `size` (h w); values can go beyond their range a little.

    Both axes are blurred if either becomes smaller, by σ = (factor − 1) / 2.
    """
    factors = [old / new for old, new in zip(images.shape[-2:], size, strict=True)]
    if max(factors) > 1:
        images = _blurred(images, [max((factor - 1) / 2, _LEAST_SIGMA) for factor in factors])
    return F.interpolate(images, size, mode="bicubic", align_corners=True)


def _blurred(images: Tensor, sigmas: list[float]) -> Tensor:
    """A separable Gaussian blur; beyond the edge the picture is mirrored."""
    channels = images.shape[1]
    for axis, sigma in zip((-2, -1), sigmas, strict=True):
        kernel = _gaussian(sigma).to(images)
        shape, padding = [1, 1, 1, 1], [0, 0, 0, 0]
        shape[axis] = len(kernel)
        first = 2 if axis == -2 else 0  # F.pad counts from the last axis.
        padding[first] = padding[first + 1] = len(kernel) // 2
        weight = kernel.view(shape).expand(channels, 1, -1, -1)
        images = F.conv2d(F.pad(images, padding, mode="reflect"), weight, groups=channels)
    return images


def _gaussian(sigma: float) -> Tensor:
    """A sampled and normalised Gaussian over about 4 σ, of odd length."""
    length = max(int(4 * sigma), _LEAST_KERNEL)
    length += 1 - length % 2
    at = torch.arange(length, dtype=torch.float32) - length // 2
    weights = torch.exp(-at.square() / (2 * sigma**2))
    return weights / weights.sum()
