"""Domain-Sim: does a clip stay in the world of its image model?"""

from __future__ import annotations

from torch import Tensor

from stillmotion.evaluation.metrics.cosine import cosines

NUM_DRAWN = 16
"""Pictures that the paper draws with the image model and the clip's prompt."""


def domain_similarity(frames: Tensor, drawn: Tensor) -> float:
    """Mean over all pairs of cos(CLIP features of a frame, CLIP features of a drawn picture).

    -1 to 1, higher is better.  AnimateZero (arXiv:2312.03793), section 5: 16 pictures by the same
    text-to-image model and prompt, 16 x f pairs.  CLIP's variant, and whether one of the pictures
    was the animated one, are not said; here it should not be, lest standing still be rewarded.

    Args:
        frames: (f d) image features of the clip.
        drawn: (n d) image features of the drawn pictures, 16 in the paper (`NUM_DRAWN`).

    Raises:
        InputError: the features do not fit each other.
    """
    return float(cosines(frames, drawn).mean())
