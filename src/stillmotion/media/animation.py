"""Animated GIF and WebP through Pillow.

WebP is written without loss.  GIF has 256 colours: one palette is chosen for the whole clip, so
that colours do not flicker from frame to frame.  Both encoders join equal neighbouring frames into
one of longer duration; the reader takes them apart again by the clip's record.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.media.container import (
    DEFAULT_FPS,
    Clip,
    Container,
    Recording,
    check_decoded_size,
    frame_ticks,
    stack_frames,
)
from stillmotion.media.images import open_picture, read_exif_note, webp_options
from stillmotion.media.provenance import OutputRecord

_MILLISECONDS = 1000
_GIF_TICKS = 100
_PALETTE_SAMPLES = 1 << 14


def _write_gif(clip: Recording, path: Path) -> None:
    palette = _common_palette(clip.frames)
    frames = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        for frame in clip.frames
    ]
    frames[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        palette=bytes(palette.getpalette() or ()),  # else Pillow repeats it in every frame
        duration=_durations_ms(clip, _GIF_TICKS),
        loop=0,
        disposal=1,  # leave the frame in place: the next one is drawn over it
        optimize=False,
        comment=clip.note.encode("ascii"),
    )


def _common_palette(frames: NDArray[np.uint8]) -> Image.Image:
    """256 colours for all frames (f h w 3): median cut, refined by k-means (2 to 4 dB better)."""
    pixels = frames.reshape(-1, 3)
    # An odd step, so that the sample does not stay in a few columns of the picture.
    pixels = pixels[:: len(pixels) // _PALETTE_SAMPLES | 1]
    return Image.fromarray(pixels[None]).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _write_webp(clip: Recording, path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in clip.frames]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=_durations_ms(clip, _MILLISECONDS),
        loop=0,
        **webp_options(clip.note),
    )


def _durations_ms(clip: Recording, ticks_per_second: int) -> list[int]:
    ticks = frame_ticks(len(clip.frames), clip.fps, ticks_per_second)
    return [(end - start) * _MILLISECONDS // ticks_per_second for start, end in pairwise(ticks)]


def _read(pillow_format: str, path: Path, record: OutputRecord | None) -> Clip:
    frames: list[NDArray[np.uint8]] = []
    durations: list[float] = []
    with open_picture(path, (pillow_format,)) as picture:
        for index in range(getattr(picture, "n_frames", 1)):
            check_decoded_size(path, index + 1, picture.height, picture.width)
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")))
            durations.append(picture.info.get("duration", 0))
    clip = stack_frames(path, frames)
    if record is None or record.fps is None:
        seconds = sum(durations) / _MILLISECONDS
        return Clip(clip, len(clip) / seconds if seconds else DEFAULT_FPS)
    check_decoded_size(path, record.num_frames, *clip.shape[1:3])
    ends = list(accumulate(durations))[:-1]
    ticks = frame_ticks(record.num_frames, record.fps, _MILLISECONDS)
    shown = [bisect_right(ends, (start + end) / 2) for start, end in pairwise(ticks)]
    return Clip(clip[shown], record.fps)


def _read_gif_note(path: Path) -> str | None:
    with open_picture(path, ("GIF",)) as picture:
        comment = picture.info.get("comment")
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else None


GIF = Container(
    name="gif",
    suffix=".gif",
    lossless=False,
    write=_write_gif,
    read=partial(_read, "GIF"),
    read_note=_read_gif_note,
    max_fps=50.0,  # browsers slow shorter frames than 20 ms down to 100 ms
)
WEBP = Container(
    name="webp",
    suffix=".webp",
    lossless=True,
    write=_write_webp,
    read=partial(_read, "WEBP"),
    read_note=read_exif_note,
    max_side=16383,
)
