"""What an autoencoder lost of a given picture, given back to the frames around it.

A clip that begins with a photograph's own pixels goes on with frames that went through the VAE.
What the VAE loses of the picture, it loses of all of them, and the clip jumps at the first decoded
frame.  So the difference between the picture and its own reconstruction is added to the other
frames as `diffusion/drift.py` does it with latents, but in full to the neighbour.  Measured in
docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.diffusion.drift import correct_drift


def with_lost_detail(
    frames: NDArray[np.uint8], given: Mapping[int, NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Decoded frames (f h w 3) with the given pictures in their places and what those lost.

    `given`: frame numbers, from 0, and the pictures (h w 3) that `frames` holds the
    reconstructions of there; between two, the change of colour is interpolated.
    """
    known = {number: _values(picture[None])[:, :, 0] for number, picture in given.items()}
    restored = correct_drift(_values(frames), known, detail_share=1)[0].permute(1, 2, 3, 0)
    pixels: NDArray[np.uint8] = np.rint(restored.numpy().clip(0, 255)).astype(np.uint8)
    for number, picture in given.items():
        pixels[number] = picture
    return pixels


def _values(frames: NDArray[np.uint8]) -> Tensor:
    """(f h w 3) -> float64 (1 3 f h w)."""
    return torch.from_numpy(np.ascontiguousarray(frames)).double().permute(3, 0, 1, 2)[None]
