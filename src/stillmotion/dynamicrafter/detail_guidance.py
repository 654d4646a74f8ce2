"""Visual detail guidance: the picture itself, given to the network beside the noise (section 3.2).

CLIP's tokens (`image_context.py`) say what is in the picture; its latents, a channel block of the
network's input, say how it looks to the last detail.  Guidance is (b c f h w) as the latents are,
of the VAE's scaled latents, and stays as it is at every step and in every guidance branch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillmotion.errors import InputError


def repeated(image: Tensor, num_frames: int) -> Tensor:
    """One picture beside every frame: (b c h w) -> (b c num_frames h w), a view.

    Raises InputError for a tensor without these axes, or fewer than 1 frame.
    """
    _check_picture(image)
    if num_frames < 1:
        raise InputError(f"A clip cannot have {num_frames} frames; give at least 1.")
    return image.unsqueeze(2).expand(-1, -1, num_frames, -1, -1)


def two_ends(first: Tensor, last: Tensor, num_frames: int) -> Tensor:
    """The first and the last frame, zeros between them: for interpolation; equal ends make a loop.

    `first` and `last` (b c h w) -> (b c num_frames h w).  Raises InputError for pictures of
    different shapes, or fewer than 2 frames.
    """
    for picture in (first, last):
        _check_picture(picture)
    if first.shape != last.shape:
        raise InputError(
            f"The first picture's latents have the shape {tuple(first.shape)} and the last one's "
            f"{tuple(last.shape)}; both ends of a clip need the same."
        )
    if num_frames < 2:
        raise InputError(f"A clip of {num_frames} frames has no two ends; give at least 2 frames.")
    guidance = first.new_zeros(*first.shape[:2], num_frames, *first.shape[2:])
    guidance[:, :, 0], guidance[:, :, -1] = first, last
    return guidance


def concatenated(latents: Tensor, guidance: Tensor) -> Tensor:
    """What the network reads: noisy latents, the guidance behind them, (b 2c f h w).

    Both (b c f h w).  Raises InputError for shapes that differ.
    """
    if latents.ndim != 5 or guidance.shape != latents.shape:
        raise InputError(
            f"Detail guidance of shape {tuple(guidance.shape)} does not fit latents of shape "
            f"{tuple(latents.shape)}; both must be (batch, channels, frames, height, width)."
        )
    return torch.cat([latents, guidance.to(latents)], dim=1)


def _check_picture(picture: Tensor) -> None:
    if picture.ndim != 4:
        raise InputError(
            f"A picture's latents have the shape {tuple(picture.shape)}; give (batch, channels, "
            "height, width)."
        )
