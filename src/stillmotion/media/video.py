"""MP4 (H.264) and WebM (VP9) through PyAV.

Both store yuv420p, the only layout that plays everywhere, so they lose a little: colour has half
the resolution.  The picture is tagged and converted as BT.709, limited range.  Encoders run on
one thread and without time stamps, so that the same frames give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from stillmotion.errors import InputError, OutputError
from stillmotion.media.container import (
    DEFAULT_FPS,
    Clip,
    Container,
    Recording,
    check_decoded_size,
    stack_frames,
)
from stillmotion.media.provenance import OutputRecord

# bicubic | full_chroma_int | full_chroma_inp | accurate_rnd | bitexact of libswscale's sws_flags,
# as a number because PyAV 17 does not name them.  Without them the colours of a smooth picture
# come back about 1.2 levels too dark (40 dB instead of 52 dB).
EXACT_SCALING = 4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
_BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709 and AVCOL_TRC_BT709 alike
_LIMITED = int(ColorRange.MPEG)

# chromaloc=1 says that colour samples sit in the middle of four pixels, which is where libswscale
# puts them.  Unsaid, FFmpeg's decoder assumes the left edge and shifts colours by half a pixel
# (1.4 to 1.9 dB on edges).  mbtree=0: with x264's macroblock tree one run in about fifteen gives
# other bytes, even on one thread (core 165; without it none of 890 did).
_H264 = {"crf": "14", "preset": "medium", "x264-params": "chromaloc=1:mbtree=0"}
_VP9 = {"crf": "14", "b": "0", "deadline": "good", "cpu-used": "2", "row-mt": "0"}


def _write(
    codec: str, codec_options: dict[str, str], muxer: str, clip: Recording, path: Path
) -> None:
    muxer_options = {"fflags": "+bitexact", "movflags": "+faststart"}
    if muxer != "mp4":
        del muxer_options["movflags"]
    with av.open(str(path), "w", format=muxer, options=muxer_options) as output:
        output.metadata["comment"] = clip.note
        stream = _add_stream(output, codec, codec_options, clip)
        for index, frame in enumerate(clip.frames):
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT_SCALING,
            )
            picture.pts = index
            picture.time_base = stream.codec_context.time_base
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def _add_stream(output: Any, codec: str, options: dict[str, str], clip: Recording) -> Any:
    rate = Fraction(clip.fps).limit_denominator(1001)
    try:
        stream = output.add_stream(codec, rate=rate, options=options)
    except av.codec.codec.UnknownCodecError as error:
        raise OutputError(
            f"This installation of PyAV has no encoder {codec}; install its official wheel "
            "(pip install av), or choose .webp or .gif."
        ) from error
    stream.height, stream.width = clip.frames.shape[1:3]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.thread_count = 1
    context.flags |= av.codec.context.Flags.bitexact
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = _LIMITED
    return stream


def _read(demuxer: str, path: Path, record: OutputRecord | None) -> Clip:
    frames: list[NDArray[np.uint8]] = []
    with opened_video(demuxer, path) as source:
        if not source.streams.video:
            raise InputError(f"'{path}' holds no video.")
        stream = source.streams.video[0]
        for picture in source.decode(stream):
            check_decoded_size(path, len(frames) + 1, picture.height, picture.width)
            frames.append(picture.to_ndarray(format="rgb24", interpolation=EXACT_SCALING))
        fps = float(stream.average_rate or DEFAULT_FPS)
    clip = stack_frames(path, frames)
    if record is None:
        return Clip(clip, fps)
    return Clip(clip[:, : record.height, : record.width], record.fps or fps)


def _read_note(demuxer: str, path: Path) -> str | None:
    with opened_video(demuxer, path) as source:
        tags = {key.lower(): value for key, value in source.metadata.items()}
    return tags.get("comment")


@contextmanager
def opened_video(demuxer: str, path: Path, stream: BinaryIO | None = None) -> Iterator[Any]:
    """Open a local video and turn decoding errors into one sentence.

    `stream`: its bytes, where it is part of another file and `path` only its name.

    The demuxer is given and only files may be opened: left to guess, FFmpeg would also take a
    play list in disguise and open whatever it names.
    """
    try:
        given, options = stream or str(path), {"protocol_whitelist": "file"}
        with av.open(given, format=demuxer, options=options) as source:
            yield source
    except av.error.FFmpegError as error:
        raise InputError(f"'{path}' is damaged or no video: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' has tags that are not UTF-8; remove or mend them.") from error


def _container(codec: str, options: dict[str, str], muxer: str, demuxer: str) -> Container:
    return Container(
        name=muxer,
        suffix=f".{muxer}",
        lossless=False,
        write=partial(_write, codec, options, muxer),
        read=partial(_read, demuxer),
        read_note=partial(_read_note, demuxer),
        max_side=16384,
        even_sizes=True,
    )


MP4 = _container("libx264", _H264, "mp4", "mov")
WEBM = _container("libvpx-vp9", _VP9, "webm", "matroska")
