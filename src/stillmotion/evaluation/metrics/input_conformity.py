"""How much the frames of a clip look like the picture that it began with."""

from __future__ import annotations

from torch import Tensor

from stillmotion.evaluation.metrics.cosine import cosines


def input_conformity(frames: Tensor, still: Tensor) -> float:
    """PIC: (1 / L) sum_l (1 - D(x_in, x_l)), perceptual input conformity.

    DynamiCrafter (arXiv:2310.12190), section 5.  D = 1 - cosine of the features, as DreamSim
    (arXiv:2306.09344) defines it, so PIC is the mean cosine: -1 to 1, higher is better, 1 for a
    clip that rests on the picture.  It rewards standing still: read it beside the motion.  With
    features of another network than DreamSim it is not the paper's PIC.

    Args:
        frames: (f d) perceptual features of all frames, frame 1 included.
        still: (d) or (1 d) those of the given picture.

    Raises:
        InputError: the features do not fit each other.
    """
    distances = 1 - cosines(frames, still.reshape(1, -1))
    return float(1 - distances.mean())


def clip_conformity(frames: Tensor, still: Tensor) -> float:
    """Mean over the frames of the cosine of CLIP's image features with those of the picture.

    -1 to 1, higher is better.  The image alignment of AnimateBench (PIA, arXiv:2312.13964).

    Args:
        frames: (f d) image features.
        still: (d) or (1 d) those of the given picture.

    Raises:
        InputError: the features do not fit each other.
    """
    return float(cosines(frames, still.reshape(1, -1)).mean())
