"""Pictures and clips that users give: looked at, under limits, before the library takes them.

What a file is, its first bytes say; names that clients send decide nothing.
"""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError
from stillmotion.media.images import MAX_PIXELS, load_image, open_picture, write_picture
from stillmotion.queueing.views import NewArtifact

MAX_PICTURE_PIXELS = MAX_PIXELS
_MAX_NAME = 100
_THUMBNAIL_SIDE = 320


@dataclass(frozen=True, kw_only=True)
class ClipLimits:
    """What a clip that a user gives may be at most."""

    max_frames: int = 2000
    max_frame_pixels: int = 1 << 23
    max_pixels: int = 1 << 28
    """Of all frames together."""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What was seen in a clip."""

    ending: str
    content_type: str
    width: int
    height: int
    num_frames: int
    thumbnail: bytes


@dataclass(frozen=True)
class _Kind:
    ending: str
    content_type: str
    demuxer: str | None
    """FFmpeg's; None: an animation that Pillow reads."""


_MP4 = _Kind("mp4", "video/mp4", "mov")
_MKV = _Kind("mkv", "video/x-matroska", "matroska")
_WEBM = _Kind("webm", "video/webm", "matroska")
_AVI = _Kind("avi", "video/x-msvideo", "avi")
_GIF = _Kind("gif", "image/gif", None)
_WEBP = _Kind("webp", "image/webp", None)
_APNG = _Kind("png", "image/apng", None)


def safe_name(name: str, ending: str) -> str:
    """Of a name that a client sent what is harmless in a file name, with the given ending."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    stem = last.rpartition(".")[0] or last
    letters = unicodedata.normalize("NFKC", stem)
    plain = re.sub(r"[^\w() -]+", "_", letters).strip(" ._-")[:_MAX_NAME].strip()
    return f"{plain or 'unnamed'}.{ending}"


def thumbnail(image: NDArray[np.uint8]) -> bytes:
    """A small WebP of a picture (h w 3)."""
    picture = Image.fromarray(image)
    picture.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=80)
    return buffer.getvalue()


def plain_picture(path: Path, name: str, max_pixels: int = MAX_PICTURE_PIXELS) -> NewArtifact:
    """Replace a picture by a PNG of its pixels alone.

    Raises InputError for what cannot be taken, and changes nothing then.
    """
    with _named(path, name):
        image = load_image(path, max_pixels=max_pixels)
    write_picture(image, path, format="PNG")
    return NewArtifact(
        file=safe_name(name, "png"),
        kind="picture",
        content_type="image/png",
        width=image.shape[1],
        height=image.shape[0],
        thumbnail=thumbnail(image),
    )


def clip_artifact(path: Path, name: str, facts: ClipFacts) -> NewArtifact:
    """A clip that was looked at."""
    return NewArtifact(
        file=safe_name(name, facts.ending),
        kind="clip",
        content_type=facts.content_type,
        width=facts.width,
        height=facts.height,
        num_frames=facts.num_frames,
        thumbnail=facts.thumbnail,
    )


def probe_clip(path: Path, limits: ClipLimits | None = None) -> ClipFacts:
    """Look at a clip, frame by frame, and stop at the first limit.

    Raises InputError for what is none of mp4, webm, mkv, avi, gif, webp and apng, is damaged, or
    is more than the limits allow.
    """
    limits = limits or ClipLimits()
    kind = _kind_of(path)
    with _named(path, "the clip"):
        if kind.demuxer is not None:
            first, count = _look_at_video(path, kind.demuxer, limits)
        else:
            first, count = _look_at_animation(path, kind, limits)
    return ClipFacts(
        ending=kind.ending,
        content_type=kind.content_type,
        width=first.shape[1],
        height=first.shape[0],
        num_frames=count,
        thumbnail=thumbnail(first),
    )


def _kind_of(path: Path) -> _Kind:
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
        return _MP4
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _WEBM if b"webm" in head[:64] else _MKV
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WEBP"):
        return _AVI if head[8:12] == b"AVI " else _WEBP
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _GIF
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return _APNG
    raise InputError(
        "the clip is of no kind that is taken; give mp4, webm, mkv, avi, gif, webp or apng."
    )


def _look_at_video(path: Path, demuxer: str, limits: ClipLimits) -> tuple[NDArray[np.uint8], int]:
    # Heavy, and seldom needed: most processes of a queue never look at a clip.
    from av.stream import Disposition

    from stillmotion.media.reading import upright
    from stillmotion.media.video import opened_video

    first, count = None, 0
    with opened_video(demuxer, path) as video:
        streams = [
            one for one in video.streams.video if not one.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise InputError("the clip holds no video.")
        _check_size(streams[0].width, streams[0].height, 1, limits)
        for picture in video.decode(streams[0]):
            count += 1
            _check_size(picture.width, picture.height, count, limits)
            if picture.is_corrupt:
                raise InputError(f"the clip is damaged at frame {count}.")
            if first is None:
                first = upright(picture)
    if first is None:
        raise InputError("the clip holds no frames; it is empty or damaged.")
    return first, count


def _look_at_animation(
    path: Path, kind: _Kind, limits: ClipLimits
) -> tuple[NDArray[np.uint8], int]:
    """Pillow says the size and the number of frames before it decodes one."""
    from stillmotion.media.reading import read_frames  # heavy

    pillow_format = "PNG" if kind is _APNG else kind.ending.upper()
    with open_picture(path, (pillow_format,)) as picture:
        _check_size(*picture.size, getattr(picture, "n_frames", 1), limits)
    with _with_ending(path, kind.ending) as named:
        frames = read_frames(named).frames
    return frames[0], len(frames)


def _check_size(width: int, height: int, num_frames: int, limits: ClipLimits) -> None:
    pixels = width * height
    if pixels > limits.max_frame_pixels:
        raise InputError(
            f"the clip has frames of {width} x {height} pixels; at most {limits.max_frame_pixels} "
            "pixels are taken: make it smaller first."
        )
    if num_frames > limits.max_frames or num_frames * pixels > limits.max_pixels:
        most = min(limits.max_frames, limits.max_pixels // max(pixels, 1))
        raise InputError(
            f"the clip has more than {most} frames, which of {width} x {height} pixels is the most "
            "that is taken; cut it first."
        )


@contextmanager
def _with_ending(path: Path, ending: str) -> Iterator[Path]:
    """Another name for the file, for readers that go by it."""
    named = path.with_name(f"{path.name}.{ending}")
    os.symlink(path.absolute(), named)
    try:
        yield named
    finally:
        named.unlink(missing_ok=True)


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Say of errors inside what the user calls the file, not where it lies here."""
    try:
        yield
    except InputError as error:
        told = re.sub(re.escape(str(path)) + r"(\.\w+)?", name[:_MAX_NAME], str(error))
        raise InputError(told) from None
