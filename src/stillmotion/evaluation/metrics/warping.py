"""Warping error: does the next frame, brought back along the flow, look like this one?

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018 (arXiv:1808.00449);
code read: phoenix104104/fast_blind_video_consistency at bce0c7e, evaluate_WarpError.py.  Where the
flow lies and what is occluded: `flow_fields.py`.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.interface import FlowEstimator
from stillmotion.evaluation.metrics.flow_fields import ClipFlow, clip_flow, warp

SCALE = 1e3
"""By which the error is published: of frames in 0 to 1 it is about 1e-3."""


def pair_error(first: Tensor, second: Tensor, forward: Tensor, occluded: Tensor) -> float:
    """E = sum_i M_i |V_t(i) - warp(V_t+1)(i)|^2 / (3 sum_i M_i), of two frames.

    M = 1 where nothing is occluded; a mean per channel, as in the published code.  If all is
    occluded there is nothing to see and E is 0.

    Args:
        first: (h w 3), in 0 to 1.
        second: (h w 3), in 0 to 1.
        forward: (h w 2).
        occluded: (h w) bool.

    Returns:
        E, from 0 to 1, not scaled; lower is better.

    Raises:
        InputError: the shapes do not fit each other.
    """
    if not first.shape[:2] == second.shape[:2] == forward.shape[:2] == occluded.shape:
        raise InputError(
            f"frames of {tuple(first.shape)} and {tuple(second.shape)}, flow of "
            f"{tuple(forward.shape)} and occlusion of {tuple(occluded.shape)} do not fit; "
            "give all of one height and width"
        )
    seen = ~occluded.bool()
    apart = (warp(second.double(), forward.double()) - first.double()).square()[seen]
    return float(apart.mean()) if len(apart) else 0.0


def warping_error(frames: Tensor, flow: ClipFlow | FlowEstimator) -> float:
    """Mean of `pair_error` over the f - 1 pairs of a clip, x 10^3; from 0 up, lower is better.

    What the number depends on, and why the papers' cannot be reproduced:

    - a generator has no input video, so the flow comes from the frames themselves (Lai et al. take
      it from the video that was processed, by FlowNet2); name the estimator with every value;
    - a resting clip has 0, so read it beside the motion;
    - AnimateZero's 0.60 to 0.83 (arXiv:2312.03793, Tables 1 and 2) is not on the scale of
      this formula, which gives 0.001 to 0.03; EvalCrafter's variant, which may be meant, sums the
      channels, halves the frames and feeds RAFT pictures of a 255th of the contrast.

    Args:
        frames: uint8 (f 3 h w), at least 2.
        flow: flow and occlusion of the clip, estimated (`clip_flow`) or exactly known; or an
            estimator, which then finds them.

    Raises:
        InputError: fewer than 2 frames, or a flow of another clip.
    """
    known = flow if isinstance(flow, ClipFlow) else clip_flow(frames, flow)
    if len(frames) != len(known.forward) + 1 or len(known.forward) != len(known.occluded):
        raise InputError(
            f"{len(frames)} frames do not go with {len(known.forward)} flows and "
            f"{len(known.occluded)} occlusions; give one of each for every pair of neighbours"
        )
    pictures = frames.permute(0, 2, 3, 1).double() / 255
    errors = [
        pair_error(first, second, forward, occluded)
        for (first, second), forward, occluded in zip(
            pairwise(pictures), known.forward, known.occluded, strict=True
        )
    ]
    return SCALE * sum(errors) / len(errors)
