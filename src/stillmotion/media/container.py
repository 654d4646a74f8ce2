"""What a clip format is to the rest of the package: how to write it, read it, and its limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.media.provenance import OutputRecord

if TYPE_CHECKING:
    import torch  # heavy: a server reads the records of clips, and has no use for it

DEFAULT_FPS = 8.0
MIN_FPS = 0.01
MAX_CLIP_PIXELS = 1 << 30
"""Most pixels (f * h * w) of one clip, read or written: 3 GiB of RGB."""


@dataclass(frozen=True)
class Clip:
    """Frames uint8 (f h w 3) in 0..255, RGB, shown at `fps` frames per second."""

    frames: NDArray[np.uint8]
    fps: float


@dataclass(frozen=True)
class Recording:
    """What a writer gets: frames uint8 (f h w 3), the provenance as ASCII JSON, extra tensors."""

    frames: NDArray[np.uint8]
    fps: float
    note: str
    latents: torch.Tensor | None = None


@dataclass(frozen=True)
class Container:
    """A clip format.

    `write` fills a file (or an existing empty folder, if `is_folder`); `read` gets the output
    record of the provenance, if the file has one; `read_note` gives the embedded provenance.
    """

    name: str
    suffix: str
    lossless: bool
    write: Callable[[Recording, Path], None]
    read: Callable[[Path, OutputRecord | None], Clip]
    read_note: Callable[[Path], str | None]
    max_side: int = 65535
    max_fps: float = 1000.0
    even_sizes: bool = False
    is_folder: bool = False


def frame_ticks(num_frames: int, fps: float, ticks_per_second: int) -> list[int]:
    """Start of every frame and end of the last in whole ticks: `num_frames + 1` numbers.

    Each is rounded by itself, so that the error never adds up: 24 fps in GIF's 1/100 s gives
    frames of 4, 4, 5, 4, ... ticks.
    """
    step = ticks_per_second / Fraction(fps)
    return [round(index * step) for index in range(num_frames + 1)]


def check_decoded_size(path: Path, num_frames: int, height: int, width: int) -> None:
    """Raise InputError if a clip would fill more memory than is allowed."""
    if num_frames * height * width > MAX_CLIP_PIXELS:
        raise InputError(
            f"'{path}' has {num_frames} frames or more of {width} x {height} pixels; at most "
            f"{MAX_CLIP_PIXELS} pixels are read from one clip."
        )


def stack_frames(path: Path, frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Stack frames (h w 3) to (f h w 3).  Raises InputError if there are none or sizes differ."""
    if not frames:
        raise InputError(f"'{path}' holds no frames; it is empty or damaged.")
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(f"'{path}' holds frames of different sizes; a clip needs one size.")
    return np.stack(frames)
