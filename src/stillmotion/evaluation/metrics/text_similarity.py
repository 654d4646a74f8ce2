"""Text-Sim: does a clip show what the words say?"""

from __future__ import annotations

from torch import Tensor

from stillmotion.evaluation.metrics.cosine import cosines


def text_similarity(frames: Tensor, text: Tensor) -> float:
    """Mean over the frames of cos(CLIP image features of the frame, CLIP text features).

    -1 to 1, higher is better.  Text-Sim of AnimateZero (arXiv:2312.03793, section 5) and CLIP-SIM
    of DynamiCrafter (arXiv:2310.12190, section 5) are this one number.  Neither names its CLIP;
    AnimateZero's 0.30 to 0.34 fits ViT-B, where ViT-L/14 gives about 0.25, so values compare only
    between runs of one network.

    Args:
        frames: (f d) image features.
        text: (d) or (1 d) text features of the prompt.

    Raises:
        InputError: the features do not fit each other.
    """
    return float(cosines(frames, text.reshape(1, -1)).mean())
