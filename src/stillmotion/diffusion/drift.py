"""Drift correction: no jump at frame 2, no fading of colours.  Not in the paper.

The network predicts frame 1 together with the others, and that prediction is thrown away, since
the still's own latents are inserted.  What the two differ by is what the network's idea of the
whole clip has drifted away from the still in this step: the other frames, which keep their
predictions, drift alike, and the clip jumps at frame 2.  So the difference is given back to them:
its mean of each channel in full (brightness and colour are the same in all frames), and the rest
less and less with the distance from the still (things move away from where they are there).
What is left of a change of colour at the end, the late frames having found their own way, is taken
out of the finished latents.  Measured in docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

DETAIL_SHARE = 0.6
"""Of the difference without its mean, what frame 2 gets back after a denoising step."""
DETAIL_FRAMES = 4.0
"""Frames over which that falls to 1/e."""


def correct_drift(
    frames: Tensor, given: Mapping[int, Tensor], detail_share: float = DETAIL_SHARE
) -> Tensor:
    """`frames` (1 c f h w), latents after a step or pixels, corrected by those that are known.

    `given`: frame numbers, from 0, and what they should be (1 c h w), in the same noise level;
    one, or the first and the last, between which the correction of the mean is interpolated.
    """
    corrected = frames
    for frame, known in given.items():
        drift = (known - frames[:, :, frame]).unsqueeze(2)
        mean = drift.mean((-2, -1), keepdim=True)
        distance = _distances(frames, frame)
        # The neighbour of the still is the first that is corrected; itself will be replaced.
        detail = detail_share * torch.exp(-(distance - 1).clamp(min=0) / DETAIL_FRAMES)
        near = _nearness(frames, frame, len(given))
        corrected = corrected + near * mean + detail.to(frames) * (drift - mean)
    return corrected


def level_colours(z_0: Tensor, given: Mapping[int, Tensor]) -> Tensor:
    """Finished latents (1 c f h w) with the mean of each channel as in the frames that are given.

    `given` as for `correct_drift`; between two the mean is interpolated.  The mean over a picture
    is its overall brightness and colour, which one text for the whole clip does not ask to change.
    """
    if not given:
        return z_0
    wanted = torch.zeros_like(z_0[..., :1, :1])
    for frame, known in given.items():
        mean = known.unsqueeze(2).mean((-2, -1), keepdim=True)
        wanted = wanted + _nearness(z_0, frame, len(given)) * mean
    return z_0 + (wanted - z_0.mean((-2, -1), keepdim=True))


def _distances(latents: Tensor, frame: int) -> Tensor:
    """Of each frame from `frame`, in frames: float64 (f 1 1)."""
    frames = torch.arange(latents.shape[2], dtype=torch.float64)
    return (frames - frame).abs().view(-1, 1, 1)


def _nearness(latents: Tensor, frame: int, num_given: int) -> Tensor:
    """Weight (f 1 1) of a given frame: 1, or of two, falling to 0 at the other."""
    distance = _distances(latents, frame)
    near = 1 - distance / (latents.shape[2] - 1) if num_given > 1 else torch.ones_like(distance)
    return near.to(latents)
