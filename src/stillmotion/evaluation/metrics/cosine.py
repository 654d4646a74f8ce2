"""Cosines between features, as the metrics of CLIP and of perceptual networks use them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stillmotion.errors import InputError


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of each of `one` (n d) with each of `other` (m d): (n m), -1 to 1, float64.

    Features need not be unit vectors.

    Raises:
        InputError: none of either, other numbers of features, or one that is 0 or not finite.
    """
    fits = one.ndim == other.ndim == 2 and one.shape[1] == other.shape[1]
    if not fits or min(len(one), len(other)) == 0:
        raise InputError(
            f"features of shapes {tuple(one.shape)} and {tuple(other.shape)} have no cosines; "
            "give (frames, features), at least 1 frame each and the same features"
        )
    one, other = one.double(), other.double()
    for features in (one, other):
        norms = features.norm(dim=1)
        if not (norms.isfinite() & (norms > 0)).all():
            raise InputError(
                "features that are 0 or not finite have no direction; "
                "check the extractor and its weights"
            )
    return (F.normalize(one, dim=1) @ F.normalize(other, dim=1).T).clamp(-1, 1)
