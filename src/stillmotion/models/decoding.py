"""From latents to frames, in as little memory as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.errors import StillmotionError
from stillmotion.media.pixels import to_pixels
from stillmotion.runtime.memory import is_out_of_memory, release_cached

DECODE_CHUNK = 8
_MIN_TILE = 8
_TILE_STEP = 4  # Tiles overlap by a quarter, which must be whole.

Say = Callable[[str], None]


class DecodeMemoryError(StillmotionError):
    """There is not enough memory to decode even a part of one frame.

    `latents` (1 c f h w), on the host, are what was to be decoded: nothing of the work that made
    them is lost.  `kept` is a file that they were written to.
    """

    def __init__(self, latents: Tensor, kept: Path | None = None) -> None:
        num_frames, height, width = latents.shape[2:]
        where = f"; the latents were kept in '{kept}'" if kept is not None else ""
        super().__init__(
            f"there is not enough memory to decode latents of {num_frames} frames of {width} x "
            f"{height}, not even one frame in tiles{where}; close other programs, or decode the "
            "latents on another device"
        )
        self.latents = latents


def decode(
    vae: Any, latents: Tensor, chunk: int = DECODE_CHUNK, *, say: Say | None = None
) -> NDArray[np.uint8]:
    """Latents (1 c f h w), scaled as the U-Net has them -> frames uint8 RGB (f h w 3).

    `chunk` frames are decoded at once and go to the host before the next.  Where memory does not
    suffice, the chunk is halved, down to one frame, and at last that frame is decoded in tiles,
    whose seams are blended; `say` is told each time.  Kernels may round differently for another
    number of frames, which is why the default is what clips have always been decoded with.
    Raises DecodeMemoryError, which carries the latents, if all of that is not enough.
    """
    rows = 1 / vae.config.scaling_factor * latents
    rows = rows.permute(0, 2, 1, 3, 4).reshape(-1, *rows.shape[1:2], *rows.shape[3:])
    frames: NDArray[np.uint8] | None = None
    done, tiled = 0, False
    while done < len(rows):
        part = rows[done : done + chunk]
        pixels = _attempt(vae, part, tiled=tiled)
        if pixels is not None:
            if frames is None:
                frames = np.empty((len(rows), *pixels.shape[1:]), np.uint8)
            frames[done : done + len(part)] = pixels
            done += len(part)
            continue
        release_cached(latents.device)
        if tiled:
            raise DecodeMemoryError(latents.detach().cpu())
        chunk, tiled = max(1, len(part) // 2), len(part) == 1
        if say is not None:
            what = "one frame in tiles" if tiled else f"{chunk} at a time"
            say(f"not enough memory to decode the frames; going on with {what}")
    assert frames is not None
    return frames


def _attempt(vae: Any, rows: Tensor, *, tiled: bool) -> NDArray[np.uint8] | None:
    """Pixels of rows (n c h w), or None if memory ran out.

    The error ends here: what it holds on to would keep the memory occupied in the next attempt.
    """
    try:
        with torch.inference_mode(), _tiles(vae, rows, tiled):
            return to_pixels(vae.decode(rows.to(vae.dtype)).sample)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


@contextmanager
def _tiles(vae: Any, rows: Tensor, tiled: bool) -> Iterator[None]:
    """For the length of the block, let `vae` decode in tiles of half the picture's size or less."""
    if not tiled:
        yield
        return
    names = ("use_tiling", "tile_latent_min_size", "tile_sample_min_size")
    former = {name: getattr(vae, name) for name in names}
    half = max(rows.shape[-2:]) / 2
    size = max(_MIN_TILE, min(former["tile_latent_min_size"], half) // _TILE_STEP * _TILE_STEP)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    values = (True, int(size), int(size) * factor)
    try:
        for name, value in zip(names, values, strict=True):
            setattr(vae, name, value)
        yield
    finally:
        for name, value in former.items():
            setattr(vae, name, value)
