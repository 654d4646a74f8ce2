"""What an autoencoder lost of a given picture, given back to the frames around it.

A clip that begins with a photograph's own pixels goes on with frames that went through the VAE.
What the VAE loses of the picture, it loses of all of them, and the clip jumps at the first decoded
frame.  So the difference between the picture and its own reconstruction is added to the other
frames: in full to the neighbour, less and less to those further away, in which things have moved
from where they are in the picture; its mean, a change of colour, to all.  Measured in
docs/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DETAIL_FRAMES = 4.0
"""Frames over which the part that is given back falls to 1/e."""


def with_lost_detail(
    frames: NDArray[np.uint8], given: Mapping[int, NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Decoded frames (f h w 3) with the given pictures in their places and what those lost.

    `given`: frame numbers, from 0, and the pictures (h w 3) that `frames` holds the
    reconstructions of there; between two, the change of colour is interpolated.
    """
    numbers = np.arange(len(frames), dtype=np.float64)[:, None, None, None]
    restored = frames.astype(np.float64)
    for frame, picture in given.items():
        lost = picture.astype(np.float64) - frames[frame]
        colour = lost.mean((0, 1))
        distance = np.abs(numbers - frame)
        near = 1 - distance / (len(frames) - 1) if len(given) > 1 else 1.0
        detail = np.exp(-np.maximum(distance - 1, 0) / DETAIL_FRAMES)
        restored += near * colour + detail * (lost - colour)
    pixels: NDArray[np.uint8] = np.rint(restored.clip(0, 255)).astype(np.uint8)
    for frame, picture in given.items():
        pixels[frame] = picture
    return pixels
