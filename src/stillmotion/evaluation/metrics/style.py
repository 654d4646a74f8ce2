"""Style-Dist: does a clip keep the style of its picture?

G = F^T F is the Gram matrix of the tokens F (t d) of one picture: which features occur together,
wherever they are (Gatys et al., CVPR 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillmotion.errors import InputError


def gram(tokens: Tensor) -> Tensor:
    """Gram matrix G = F^T F of tokens (... t d): (... d d), float64, not divided by anything."""
    tokens = tokens.double()
    return tokens.mT @ tokens


def style_distance_raw(frames: Tensor, still: Tensor) -> float:
    """Mean over the frames of the Frobenius norm |G_frame - G_still|; from 0 up, lower is better.

    AnimateZero (arXiv:2312.03793), section 5: "the gram matrix of the third layer features of the
    CLIP Image Encoder".  Read as in FreeDoM's code by the same author (CN/cldm/clip/base_clip.py at
    1394b1d): OpenAI's ViT-B/16, the output of the third block, the class token dropped, G
    undivided.  There one picture is resized by bilinear and the other by bicubic interpolation;
    here both go through the extractor's one way.

    Args:
        frames: (f t d) tokens of each frame, the class token dropped.
        still: (t d) those of the given picture.

    Raises:
        InputError: the tokens do not fit each other.
    """
    if frames.ndim != 3 or len(frames) == 0 or frames.shape[1:] != still.shape:
        raise InputError(
            f"tokens of shapes {tuple(frames.shape)} and {tuple(still.shape)} cannot be compared; "
            "give (frames, tokens, features) and (tokens, features) of one network"
        )
    wanted = gram(still)
    # Frame by frame: 16 matrices of 768 x 768 in float64 need not lie in memory together.
    apart = [torch.linalg.matrix_norm(gram(frame) - wanted) for frame in frames]
    return float(torch.stack(apart).mean())


def style_distance(frames: Tensor, still: Tensor) -> float:
    """`style_distance_raw` over t d, tokens times features; from 0 up, lower is better.

    The paper's 0.13 to 0.43 needs a factor that it does not give, so its column cannot be
    reproduced; this division makes networks of different size comparable in magnitude, no more.

    Args:
        frames: (f t d) tokens of each frame, the class token dropped.
        still: (t d) those of the given picture.

    Raises:
        InputError: the tokens do not fit each other.
    """
    return style_distance_raw(frames, still) / still.numel()
