"""Frames on their way into a network: checked, resized as PIL does, normalised, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stillmotion.errors import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_frames(frames: Tensor, shape: str = "n 3 h w") -> None:
    """Raise InputError unless `frames` are uint8 RGB of the `shape` that an extractor takes."""
    names = shape.split()
    right = frames.ndim == len(names) and frames.shape[names.index("3")] == 3 and frames.numel()
    if not right or frames.dtype != torch.uint8:
        raise InputError(
            f"an extractor was given {frames.dtype} of the shape {tuple(frames.shape)}; give uint8 "
            f"of the shape ({shape}), not empty"
        )


def resized(frames: Tensor, size: int) -> Tensor:
    """Frames (n 3 h w), uint8, as (n 3 size size), uint8: PIL's bicubic, which antialiases.

    The whole frame is kept, squeezed if it is not square.  A frame of that size stays as it is.
    """
    if frames.shape[-2:] == (size, size):
        return frames
    pictures = frames.permute(0, 2, 3, 1).cpu().numpy()
    small = [
        np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC))
        for p in pictures
    ]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)


def normalised(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 (n 3 h w) to floats: in 0..1, minus `mean`, over `std`, per channel."""
    unit = frames.float() / 255
    return (unit - unit.new_tensor(mean)[:, None, None]) / unit.new_tensor(std)[:, None, None]


def centred_unit(vectors: Tensor) -> Tensor:
    """Vectors (n d), each minus its own mean over d, at length 1."""
    return F.normalize(vectors - vectors.mean(-1, keepdim=True), dim=-1)


@torch.no_grad()
def in_batches(compute: Callable[[Tensor], Tensor], items: Tensor, batch: int) -> Tensor:
    """`compute` of `batch` items at a time, as float32 on the CPU."""
    return torch.cat([compute(part).float().cpu() for part in items.split(batch)])
