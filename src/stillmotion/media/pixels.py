"""Between decoded tensors and pixels: one rounding for stills and frames alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stillmotion.errors import InputError

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


def to_pixels(decoded: Tensor) -> NDArray[np.uint8]:
    """Decoder output (n 3 h w) in -1..1, clipped and rounded -> uint8 RGB (n h w 3)."""
    unit = (decoded.float() / 2 + 0.5).clamp(0, 1)
    pixels: NDArray[np.uint8] = (
        (unit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return np.ascontiguousarray(pixels)


def from_pixels(image: NDArray[np.uint8]) -> Tensor:
    """uint8 RGB (h w 3) -> encoder input float32 (1 3 h w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 127.5 - 1


def convert_frames(frames: NDArray[np.uint8], output_type: str) -> Any:
    """uint8 (b f h w 3) as diffusers gives videos.

    "pil": a list of lists of pictures; "np": float32 (b f h w 3) in 0..1; "pt": (b f 3 h w).
    """
    if output_type == "pil":
        return [[Image.fromarray(frame) for frame in clip] for clip in frames]
    unit = frames.astype(np.float32) / 255
    return unit if output_type == "np" else torch.from_numpy(unit).permute(0, 1, 4, 2, 3)


def check_output_type(output_type: str) -> None:
    """Raises InputError for a name that is not in `OUTPUT_TYPES`."""
    if output_type not in OUTPUT_TYPES:
        raise InputError(f"output_type is {output_type!r}; it can be {', '.join(OUTPUT_TYPES)}.")
