"""Frames of one clip by number, with the time at which each is shown.

Videos are listed without decoding, then decoded from the key frame before the first frame that is
wanted.  Other kinds of clip tell no times and are read whole, as evenly spaced.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.media.container import MIN_FPS, Clip
from stillmotion.media.cut_short import check_not_cut_short
from stillmotion.media.images import MAX_PIXELS
from stillmotion.media.reading import MAX_FRAMES, VIDEO_DEMUXERS, read_frames, upright
from stillmotion.media.video import opened_video
from stillmotion.training.clips.rows import ShardMember

Pixels = NDArray[np.uint8]
Convert = Callable[[Pixels], Pixels]
"""Done to each frame (h w 3) as soon as it is decoded, so that large ones do not pile up."""

VIDEO_SUFFIXES = tuple(VIDEO_DEMUXERS)


class TimedFrames(Protocol):
    """An opened clip."""

    @property
    def times(self) -> Sequence[Fraction]:
        """Presentation time of every frame in seconds, ascending; at least one."""
        ...

    @property
    def declared_fps(self) -> Fraction | None:
        """What the file says of its rate."""
        ...

    def frames(self, numbers: Sequence[int], convert: Convert) -> list[Pixels]:
        """The frames of these numbers, uint8 RGB (h w 3), upright, converted.

        `numbers` ascend and may repeat.  Raises InputError if one of them is damaged.
        """
        ...


@contextmanager
def opened_clip(location: Path | ShardMember, *, end: float | None = None) -> Iterator[TimedFrames]:
    """Open a clip: a video, in a file or a shard, or any other kind that `read_frames` reads.

    `end`: seconds after the first frame beyond which no frame is needed.  Raises InputError for a
    clip that is missing, damaged, cut short, without video, of an unknown kind, or too large.
    """
    name = location.name if isinstance(location, ShardMember) else str(location)
    demuxer = VIDEO_DEMUXERS.get(Path(name).suffix.lower())
    if demuxer is None and isinstance(location, Path):
        yield _Stack(read_frames(location))
        return
    if demuxer is None:
        raise InputError(f"'{name}' is no video; a shard can hold {', '.join(VIDEO_SUFFIXES)}.")
    with _opened(location, demuxer) as container:
        yield _Video(container, name, end)


@contextmanager
def _opened(location: Path | ShardMember, demuxer: str) -> Iterator[Any]:
    if isinstance(location, ShardMember):
        path, stream = Path(location.name), _Bytes(location.read())
    elif location.is_file():
        path, stream = location, None
    else:
        raise InputError(f"There is no clip '{location}'; check the name.")
    check_not_cut_short(path, demuxer, stream)
    with opened_video(demuxer, path, stream) as container:
        yield container


class _Bytes(BytesIO):
    """Bytes that take a damaged file's jump before the beginning for one to the beginning."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(max(offset, 0) if whence == 0 else offset, whence)


class _Stack:
    """Frames in memory, evenly spaced."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self.declared_fps: Fraction = Fraction(max(clip.fps, MIN_FPS)).limit_denominator(1001)
        self.times: Sequence[Fraction] = [
            number / self.declared_fps for number in range(len(clip.frames))
        ]

    def frames(self, numbers: Sequence[int], convert: Convert) -> list[Pixels]:
        return [convert(self._clip.frames[number]) for number in numbers]


class _Video:
    """An open video; `times` are those of its packets."""

    def __init__(self, container: Any, name: str, end: float | None) -> None:
        # A cover picture is a stream of video, too.
        streams = [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        if not streams:
            raise InputError(f"'{name}' holds no video.")
        self._container, self._name, self._stream = container, name, streams[0]
        self._check_size(self._stream.height, self._stream.width)
        self._stream.codec_context.thread_count = 1  # there are many workers already
        self._ticks, self._keys = self._listed(end)
        base = self._stream.time_base
        self.times: Sequence[Fraction] = [tick * base for tick in self._ticks]
        self.declared_fps: Fraction | None = self._stream.average_rate or None

    def _listed(self, end: float | None) -> tuple[list[int], list[int]]:
        """Presentation time of all frames and of the key frames, ascending, in ticks."""
        ticks, keys, first = set[int](), set[int](), 0
        last = None if end is None else end / float(self._stream.time_base)
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue  # the mark of the end
            if packet.pts is None:
                raise InputError(f"'{self._name}' has frames without a time; write it anew.")
            if not packet.is_discard:  # an edit list may hide what precedes a cut
                first = min(first, packet.pts) if ticks else packet.pts
                ticks.add(packet.pts)
                if packet.is_keyframe:
                    keys.add(packet.pts)
            if len(ticks) > MAX_FRAMES:
                raise InputError(
                    f"'{self._name}' has more than {MAX_FRAMES} frames; cut it into clips first."
                )
            # Whatever follows is shown later than it is decoded.
            if last is not None and ticks and packet.dts is not None and packet.dts > first + last:
                break
        if not ticks:
            raise InputError(f"'{self._name}' holds no frames; it is empty or damaged.")
        return sorted(ticks), sorted(keys)

    def frames(self, numbers: Sequence[int], convert: Convert) -> list[Pixels]:
        wanted = [self._ticks[number] for number in numbers]
        before = bisect_right(self._keys, wanted[0])
        found = self._decoded(set(wanted), self._keys[before - 1], convert) if before else {}
        if len(found) < len(set(wanted)):
            # Some files seek badly; from the beginning every frame that is there will come.
            found = self._decoded(set(wanted), self._ticks[0], convert)
        for number, tick in zip(numbers, wanted, strict=True):
            if tick not in found:
                raise InputError(f"'{self._name}' is damaged at frame {number}.")
        return [found[tick] for tick in wanted]

    def _decoded(self, wanted: set[int], start: int, convert: Convert) -> dict[int, Pixels]:
        """Frames by their ticks, decoded from the key frame at or before `start`."""
        self._container.seek(start, stream=self._stream)
        found: dict[int, Pixels] = {}
        last = max(wanted)
        for picture in self._container.decode(self._stream):
            if picture.pts in wanted:
                self._check(picture)
                found[picture.pts] = convert(upright(picture))
            if picture.pts is not None and picture.pts >= last:
                break
        return found

    def _check(self, picture: Any) -> None:
        self._check_size(picture.height, picture.width)  # it may change on the way
        if picture.is_corrupt:
            raise InputError(f"'{self._name}' is damaged at {float(picture.time):.3f} s.")

    def _check_size(self, height: int, width: int) -> None:
        if height * width > MAX_PIXELS:
            raise InputError(
                f"'{self._name}' has frames of {width} x {height} pixels; at most {MAX_PIXELS} "
                "pixels are read: make it smaller first."
            )
