"""Videos that were cut short, told by their own sizes before anything is decoded.

A decoder takes the end of the file for the end of the video and says nothing.  But both kinds of
container note how long their parts are.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from stillmotion.errors import InputError

_MAX_BOXES = 100_000
_EBML_ID_BYTES = 4
_MATROSKA_SEGMENT = bytes.fromhex("18538067")


def check_not_cut_short(path: Path, demuxer: str, stream: BinaryIO | None = None) -> None:
    """Compare the size of a file with what it says of itself.

    Args:
        path: the video.
        demuxer: "mov" (mp4, mov) or "matroska" (mkv, webm).
        stream: its bytes, where it is part of another file and `path` only its name.

    Raises:
        InputError: the file is shorter than its parts.
    """
    with nullcontext(stream) if stream is not None else path.open("rb") as video:
        expected = _end_of_boxes(video) if demuxer == "mov" else _end_of_segment(video)
        size = video.seek(0, os.SEEK_END)
        video.seek(0)
    if size < expected:
        raise InputError(
            f"'{path}' is cut short: {size} of {expected} bytes or more are there; copy it again."
        )


def _end_of_boxes(stream: BinaryIO) -> int:
    """Where the last top-level box of an ISO file ends.  Source: ISO/IEC 14496-12, 4.2."""
    at = 0
    for _ in range(_MAX_BOXES):
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            break
        length = int.from_bytes(head[:4])
        if length == 1:  # the length proper follows the name
            length = int.from_bytes(head[8:])
        if length < 8:  # 0: up to the end of the file; else no box
            break
        at += length
    return at


def _end_of_segment(stream: BinaryIO) -> int:
    """Where the segment of a Matroska file ends, 0 if it does not say.  Source: RFC 9559, 4.5."""
    stream.seek(_EBML_ID_BYTES)
    header = _variable_size(stream)
    if header is None:
        return 0
    stream.seek(header, 1)
    if stream.read(len(_MATROSKA_SEGMENT)) != _MATROSKA_SEGMENT:
        return 0
    size = _variable_size(stream)
    return 0 if size is None else stream.tell() + size


def _variable_size(stream: BinaryIO) -> int | None:
    """A size whose leading zeros tell its own bytes; None if unknown.  Source: RFC 8794, 4."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> length)]) + stream.read(length - 1))
    return None if value == (1 << 7 * length) - 1 else value
