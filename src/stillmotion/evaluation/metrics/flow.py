"""How far things move from frame to frame: the length of the optical flow.

The estimator by default is OpenCV's DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse
Search", ECCV 2016), which needs no weights.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.dis import SMALLEST, DisFlow
from stillmotion.evaluation.extractors.interface import FlowEstimator
from stillmotion.evaluation.metrics.flow_fields import ClipFlow


def motion_magnitude(flow: ClipFlow) -> float:
    """Mean length of the forward flow over all pixels and steps of a clip, in pixels per step.

    From 0 up, 0 for a clip that rests; neither direction is better.  In no paper (VBench's dynamic
    degree takes the fastest 5 % and a threshold).  Pixels are those of the frames that the
    estimator was given, so compare only clips of one size.  Resting pixels count, so a small thing
    that moves far gives little; and estimators carry its motion into flat ground around it, so the
    exact flow of the world gives less than DIS.
    """
    return 0.0 if flow.rests else float(flow.forward.double().norm(dim=-1).mean())


def flow_magnitude(frames: NDArray[np.uint8], estimator: FlowEstimator | None = None) -> float:
    """Mean length of the flow of a clip, found here and forward only; a clip may rest.

    Args:
        frames: uint8 `(f h w 3)`, RGB, at least 2 frames; for DIS of at least 12 x 12 pixels.
        estimator: of the flow; OpenCV's DIS if None.

    Raises:
        InputError: OpenCV is not installed, or there are fewer frames or pixels.
    """
    smallest = SMALLEST if estimator is None else 1
    estimator = DisFlow() if estimator is None else estimator
    if len(frames) < 2 or min(frames.shape[1:3]) < smallest:
        raise InputError(
            f"The clip has the shape {frames.shape}; flow needs at least 2 frames of at least "
            f"{smallest} x {smallest} pixels."
        )
    pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, 1)))
    fields = [estimator.flow(here, after) for here, after in pairwise(pictures)]
    return float(torch.stack(fields).double().norm(dim=-1).mean())
