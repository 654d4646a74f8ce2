"""Distances between two sets of features, of made and of real clips: FVD and KVD by other features.

Which network the features come from names the metric: with I3D's logits they are FVD and KVD.
Shapes: n and m clips, d features; all in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillmotion.errors import InputError


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), of Gaussians fitted to each set.

    FVD (Unterthiner et al., arXiv:1812.01717) with unbiased covariances.  From 0 up, lower is
    better; it depends on the number of clips, so compare only equal numbers.

    Args:
        made: (n d).
        real: (m d).

    Raises:
        InputError: fewer than 2 clips, or other numbers of features.
    """
    made, real = _checked(made, real)
    root = _root(torch.cov(made.T).reshape(made.shape[1], -1))
    other = torch.cov(real.T).reshape(real.shape[1], -1)
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    means = (made.mean(0) - real.mean(0)).square().sum()
    return float(means + (root @ root).trace() + other.trace() - 2 * shared)


def kernel_distance(made: Tensor, real: Tensor) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)^3.

    KVD (Binkowski et al., arXiv:1801.01401, on features of videos).  Around 0 for equal
    distributions and then at times below; lower is better.  Unbiased at any number of clips.

    Args:
        made: (n d).
        real: (m d).

    Raises:
        InputError: fewer than 2 clips, or other numbers of features.
    """
    made, real = _checked(made, real)
    within = sum(_mean_of_pairs(_kernel(one, one)) for one in (made, real))
    return float(within - 2 * _kernel(made, real).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    """Of different samples: without the diagonal."""
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _checked(made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    fits = made.ndim == real.ndim == 2 and made.shape[1] == real.shape[1]
    if not fits or min(len(made), len(real)) < 2:
        raise InputError(
            f"features of shapes {tuple(made.shape)} and {tuple(real.shape)} cannot be compared; "
            "give (clips, features) with at least 2 clips in each and the same features"
        )
    return made.double(), real.double()
