"""Looking at one uploaded file, in a process of its own with little to gain and little to break.

    python -m stillmotion.server.probe < REQUEST > ANSWER

The request is one JSON object (`ProbeRequest`), the answer one (`ProbeAnswer`).  Decoders of
pictures and videos are the likeliest part of a server to be broken by a crafted file: here they
run with limits on memory, time and files.  Of a clip nothing is kept but the answer; of a picture
the pixels, written anew: upright, without metadata, without whatever else the file was.
"""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import sys
import warnings
from dataclasses import asdict, dataclass
from typing import Any

PICTURE_FORMATS = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
}
ANIMATION_FORMATS = {"GIF": ("image/gif", ".gif"), "WEBP": ("image/webp", ".webp")}
_MP4_BRANDS = b"ftyp"
_EBML = b"\x1a\x45\xdf\xa3"
_MAX_SIDE = 16384
_MAX_STREAMS = 8
_ATTACHED_PICTURE = 0x0400
_OPEN_FILES = 256
_QUICKLY = 3
_THUMBNAIL_SIDE = 320


@dataclass(frozen=True, kw_only=True)
class ProbeRequest:
    """What to look at, and how much of it is allowed."""

    kind: str
    """`picture` or `clip`."""
    path: str
    max_pixels: int
    """h * w of a picture, f * h * w of a clip."""
    max_frames: int
    seconds: int
    num_bytes: int
    """Address space of the process."""
    output: int | None = None
    """Descriptor of an open file into which the pixels of a picture are written, as PNG."""
    output_bytes: int = 0
    """The most that may be written there."""


@dataclass(frozen=True, kw_only=True)
class ProbeAnswer:
    """What the file is, or in `error` why it cannot be taken."""

    error: str | None = None
    content_type: str = ""
    suffix: str = ""
    width: int = 0
    height: int = 0
    num_frames: int = 1
    thumbnail: str = ""
    """Of a clip: its first frame, small, a WebP in base64."""


class _Refused(Exception):
    """The sentence that says why."""


def look(asked: ProbeRequest) -> ProbeAnswer:
    """Decode the whole file; never raises for what is in it."""
    try:
        return _picture(asked) if asked.kind == "picture" else _clip(asked)
    except _Refused as refusal:
        return ProbeAnswer(error=str(refusal))
    except MemoryError:
        return ProbeAnswer(error="needs more memory than is allowed")
    except Exception:  # decoders raise anything on a damaged file
        return ProbeAnswer(error="is damaged or cut short")


def _picture(asked: ProbeRequest) -> ProbeAnswer:
    from PIL import Image, ImageOps, UnidentifiedImageError

    from stillmotion.media.images import to_rgb

    try:
        with Image.open(asked.path, formats=tuple(PICTURE_FORMATS)) as picture:
            _check_size(picture.width, picture.height, 1, asked)
            content_type, suffix = PICTURE_FORMATS[str(picture.format)]
            if getattr(picture, "n_frames", 1) > asked.max_frames:
                raise _Refused(f"has more than {asked.max_frames} frames")
            plain = to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise _Refused("is no PNG, JPEG or WebP picture, or it is damaged") from None
    except Image.DecompressionBombError:
        raise _Refused("has far too many pixels") from None
    if asked.output is not None:
        content_type, suffix = PICTURE_FORMATS["PNG"]
        with os.fdopen(asked.output, "wb") as stream:
            plain.save(stream, format="PNG", compress_level=_QUICKLY)
    return ProbeAnswer(
        content_type=content_type, suffix=suffix, width=plain.width, height=plain.height
    )


def _clip(asked: ProbeRequest) -> ProbeAnswer:
    with open(asked.path, "rb") as stream:
        head = stream.read(16)
    if head[4:8] == _MP4_BRANDS:
        return _video(asked, "mov", "video/mp4", ".mp4")
    if head[:4] == _EBML:
        return _video(asked, "matroska", "video/webm", ".webm")
    if head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return _animation(asked)
    raise _Refused("is no MP4, WebM, GIF or WebP clip")


def _animation(asked: ProbeRequest) -> ProbeAnswer:
    from PIL import Image

    with Image.open(asked.path, formats=tuple(ANIMATION_FORMATS)) as picture:
        _check_size(picture.width, picture.height, 1, asked)
        num_frames = int(getattr(picture, "n_frames", 1))
        _check_size(picture.width, picture.height, num_frames, asked)
        for index in range(num_frames):
            picture.seek(index)
            picture.load()
            if index == 0:
                small = _thumbnail(picture.convert("RGB"))
        content_type, suffix = ANIMATION_FORMATS[str(picture.format)]
        width, height = picture.size
    return ProbeAnswer(
        content_type=content_type, suffix=suffix, width=width, height=height,
        num_frames=num_frames, thumbnail=small,
    )  # fmt: skip


def _video(asked: ProbeRequest, demuxer: str, content_type: str, suffix: str) -> ProbeAnswer:
    import av

    # The demuxer is given: left to guess, FFmpeg would also take a play list in disguise.
    options = {"protocol_whitelist": "file"}
    with av.open(asked.path, format=demuxer, options=options) as source:
        if len(source.streams) > _MAX_STREAMS:
            raise _Refused(f"has more than {_MAX_STREAMS} streams")
        stream = _video_stream(source)
        stream.codec_context.thread_count = 1
        _check_size(stream.width, stream.height, stream.frames or 1, asked)
        num_frames = 0
        for frame in source.decode(stream):
            num_frames += 1
            _check_size(frame.width, frame.height, num_frames, asked)
            if frame.is_corrupt:
                raise _Refused(f"is damaged at frame {num_frames - 1}")
            if num_frames == 1:
                small = _thumbnail(frame.to_image())
        if not num_frames:
            raise _Refused("holds no frames")
        return ProbeAnswer(
            content_type=content_type, suffix=suffix, width=stream.width, height=stream.height,
            num_frames=num_frames, thumbnail=small,
        )  # fmt: skip


def _thumbnail(picture: Any) -> str:
    """A Pillow picture, small, as WebP in base64."""
    small, buffer = picture.copy(), io.BytesIO()
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    small.save(buffer, format="WEBP", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _video_stream(source: Any) -> Any:
    """The video in an opened file, leaving out cover pictures."""
    streams = [
        stream for stream in source.streams.video if not int(stream.disposition) & _ATTACHED_PICTURE
    ]
    if not streams:
        raise _Refused("holds no video")
    return streams[0]


def _check_size(width: int, height: int, num_frames: int, asked: ProbeRequest) -> None:
    if width < 1 or height < 1:
        raise _Refused("holds no picture")
    if max(width, height) > _MAX_SIDE or width * height * num_frames > asked.max_pixels:
        frames = f", {num_frames} frames or more" if num_frames > 1 else ""
        raise _Refused(
            f"has {width} x {height} pixels{frames}; at most {asked.max_pixels} pixels and "
            f"{_MAX_SIDE} a side are taken"
        )
    if num_frames > asked.max_frames:
        raise _Refused(f"has {num_frames} frames or more; at most {asked.max_frames} are taken")


def _confine(asked: ProbeRequest) -> None:
    """Give up all that looking at a file does not need."""
    for what, limit in (
        (resource.RLIMIT_AS, asked.num_bytes),
        (resource.RLIMIT_CPU, asked.seconds),
        (resource.RLIMIT_FSIZE, asked.output_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def main() -> None:
    """Read the request, confine this process, look, answer."""
    asked = ProbeRequest(**json.load(sys.stdin))
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a decoder prints is no answer
    _confine(asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = look(asked)
    os.write(answers, json.dumps(asdict(answer)).encode())


if __name__ == "__main__":
    main()
