"""Drift correction: no jump at frame 2, no fading of colours.  Not in the paper.

The network predicts frame 1 together with the others, and that prediction is thrown away, since
the still's own latents are inserted.  What the two differ by is what the network's idea of the
whole clip has drifted away from the still in this step: the other frames, which keep their
predictions, drift alike, and the clip jumps at frame 2.  So the difference is given back to them:
its mean of each channel in full (brightness and colour are the same in all frames), and the rest
less and less with the distance from the still (things move away from where they are there).
Measured in docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

DETAIL_SHARE = 0.6
"""Of the difference without its mean, what frame 2 gets back."""
DETAIL_FRAMES = 4.0
"""Frames over which that falls to 1/e."""


def correct_drift(latents: Tensor, given: Mapping[int, Tensor]) -> Tensor:
    """`latents` (1 c f h w) after a step, corrected by the frames whose latents are known.

    `given`: frame numbers, from 0, and their latents (1 c h w) of the same noise level; one, or
    the first and the last, between which the correction of the mean is interpolated.
    """
    num_frames = latents.shape[2]
    frames = torch.arange(num_frames, dtype=torch.float64)
    corrected = latents
    for frame, known in given.items():
        drift = (known - latents[:, :, frame]).unsqueeze(2)
        mean = drift.mean((-2, -1), keepdim=True)
        distance = (frames - frame).abs()
        near = 1 - distance / (num_frames - 1) if len(given) > 1 else torch.ones_like(frames)
        # The neighbour of the still is the first that is corrected; itself will be replaced.
        detail = DETAIL_SHARE * torch.exp(-(distance - 1).clamp(min=0) / DETAIL_FRAMES)
        near, detail = (w.to(latents).view(-1, 1, 1) for w in (near, detail))
        corrected = corrected + near * mean + detail * (drift - mean)
    return corrected
