"""Clips as they are shown: brought to one size, speed and length, as one picture each.

Nothing but the pixels may tell two clips of a case apart: not the size of the frames, their
number or speed, not what an encoder noted in the file, and not the length of the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.sheets import MAX_SIDE, data_uri, sheet, webp
from stillmotion.media.container import Clip
from stillmotion.media.fit import Size, fit_picture

Frames = NDArray[np.uint8]
MAX_FPS = 30.0
_SMALL = 128
"""Frames up to this many pixels wide and high are shown enlarged, pixel by pixel, and exact."""
_QUALITY = 90
_SHAPE_TOLERANCE = 0.02
_PADDING = b"JUNK"
"""A chunk that readers of RIFF files, WebP among them, pass over."""


@dataclass(frozen=True)
class Timing:
    """What all clips of a case are brought to."""

    size: Size
    count: int
    fps: float


@dataclass(frozen=True)
class Fitted:
    """Clips of one case, alike in all but what they show."""

    timing: Timing
    clips: tuple[Frames, ...]
    """Each (count h w 3), uint8 in 0..255."""
    cropped: bool
    """A clip had another shape than the picture and lost its borders."""
    shortened: bool
    """A clip was longer than the shortest and lost its end."""


def fit_clips(clips: Sequence[Clip], still: Size, side: int) -> Fitted:
    """Bring the clips of a case to one size, number of frames and speed.

    Frames get the shape of the still, borders cut off, and at most `side` pixels on the longer
    side; the largest clip is never enlarged.  The clips end with the shortest and run at the
    highest of their speeds (`MAX_FPS` at most), the others repeating frames.

    Raises InputError if the frames would not fit into one picture.
    """
    durations = [len(clip.frames) / clip.fps for clip in clips]
    fps = min(max(clip.fps for clip in clips), MAX_FPS)
    count = max(1, round(min(durations) * fps))
    largest = max(max(clip.frames.shape[1:3]) for clip in clips)
    scale = min(side, largest) / max(still)
    size = (max(1, round(still[0] * scale)), max(1, round(still[1] * scale)))
    timing = Timing(size, count, fps)
    if max(grid_size(timing)) > MAX_SIDE:
        raise InputError(
            f"{count} frames of {size[1]} x {size[0]} pixels do not fit into one picture; choose "
            "a smaller --side."
        )
    shape = still[1] / still[0]
    cropped = any(
        abs(clip.frames.shape[2] / clip.frames.shape[1] / shape - 1) > _SHAPE_TOLERANCE
        for clip in clips
    )
    shortened = max(durations) - min(durations) > 1.5 / fps
    return Fitted(timing, tuple(_fitted(clip, timing) for clip in clips), cropped, shortened)


def spoiled(frames: Frames, stream: np.random.Generator) -> Frames:
    """The clip (f h w 3) for an attention check: frames out of order, each torn into 16 tiles.

    The tiles of each frame are shuffled anew, so that it neither moves well nor holds together
    nor looks like the picture, though its colours are the clip's own.
    """
    order = stream.permutation(len(frames))
    return np.stack([_torn(frames[index], stream) for index in order])


def encoded(clips: Sequence[Frames]) -> list[str]:
    """Each clip (f h w 3) as a data URI of one WebP picture, all of the same length.

    The frames stand in rows of `columns(f)`.  Small ones are stored without loss.
    """
    quality = _quality((clips[0].shape[1], clips[0].shape[2]))
    files = [webp(sheet(frames, columns(len(frames))), quality) for frames in clips]
    longest = max(len(file) for file in files) + len(_PADDING) + 4
    return [data_uri(_padded(file, longest)) for file in files]


def encoded_still(image: Frames, size: Size) -> str:
    """The picture (h w 3) at a size, as a data URI; nothing but its pixels is kept."""
    return data_uri(webp(fit_picture(image, size)[0], _quality(size)))


def is_small(size: Size) -> bool:
    """Whether frames of this size are shown with crisp pixels."""
    return max(size) <= _SMALL


def _quality(size: Size) -> int | None:
    return None if is_small(size) else _QUALITY


def columns(count: int) -> int:
    """Frames in a row of the picture that holds `count` of them."""
    return math.ceil(math.sqrt(count))


def grid_size(timing: Timing) -> Size:
    """Height and width of the picture that holds all frames."""
    across = columns(timing.count)
    return math.ceil(timing.count / across) * timing.size[0], across * timing.size[1]


def _fitted(clip: Clip, timing: Timing) -> Frames:
    # The frame that is seen in the middle of each of the new frames' time.
    moments = (np.arange(timing.count) + 0.5) / timing.fps
    shown = np.minimum((moments * clip.fps).astype(int), len(clip.frames) - 1)
    taken, where = np.unique(shown, return_inverse=True)
    fitted = np.stack([fit_picture(clip.frames[index], timing.size)[0] for index in taken])
    return np.asarray(fitted[where])


def _torn(frame: Frames, stream: np.random.Generator) -> Frames:
    torn = frame.copy()
    height, width = frame.shape[0] // 4, frame.shape[1] // 4
    for place, source in enumerate(stream.permutation(16)):
        (top, left), (y, x) = divmod(place, 4), divmod(int(source), 4)
        tile = frame[y * height : (y + 1) * height, x * width : (x + 1) * width]
        torn[top * height : (top + 1) * height, left * width : (left + 1) * width] = tile
    return torn


def _padded(file: bytes, length: int) -> bytes:
    """The RIFF file with a chunk at its end that brings it to `length` bytes."""
    filler = length - len(file) - 8
    chunk = _PADDING + filler.to_bytes(4, "little") + bytes(filler)
    size = length - 8
    return file[:4] + size.to_bytes(4, "little") + file[8:] + chunk
