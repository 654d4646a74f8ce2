"""Frames of any clip that a user may bring: a video, an animation, a folder of pictures.

`clips.load_clip` reads what this package wrote, whole.  Here the clip may come from anywhere and
be long, so only the frames asked for are kept, and what they need is checked before decoding.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.media.clips import CLIP_SUFFIXES, check_clip_path, load_clip
from stillmotion.media.container import DEFAULT_FPS, Clip, check_decoded_size, stack_frames
from stillmotion.media.cut_short import check_not_cut_short
from stillmotion.media.images import MAX_PIXELS, load_image, open_picture, to_rgb
from stillmotion.media.provenance import OutputRecord, Provenance
from stillmotion.media.video import EXACT_SCALING, opened_video

MAX_FRAMES = 100_000
"""Most frames that are read from one clip."""

VIDEO_DEMUXERS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".webm": "matroska",
    ".mkv": "matroska",
}
"""Videos whose every frame tells its time."""
_UNTIMED_DEMUXERS = {".avi": "avi"}
"""Videos that are evenly spaced by definition."""
_ALL_DEMUXERS = {**VIDEO_DEMUXERS, **_UNTIMED_DEMUXERS}
_ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
READABLE_SUFFIXES = (*_ALL_DEMUXERS, *_ANIMATIONS, ".safetensors")


def read_frames(
    path: str | os.PathLike[str], *, start: int = 0, count: int | None = None, stride: int = 1
) -> Clip:
    """Read frames of a clip, upright: videos are turned as the camera noted.

    Args:
        path: mp4, m4v, mov, webm, mkv, avi, gif, webp, (a)png, safetensors, or a folder of
            pictures (png, jpg, webp) in the order of the numbers in their names.
        start: the first frame taken, counted from 0.
        count: how many are taken; None: all to the end.
        stride: every so manieth is taken.

    Returns:
        Frames uint8 `(f h w 3)` in 0..255, RGB, without the padding that this package adds, and
        the frames per second at which they show the clip's own speed, stride included.  Frames
        are taken as evenly spaced; transparency is laid on white; pixels are taken as square.

    Raises:
        InputError: the clip is missing, damaged, cut short, without video, of an unknown kind, or
            too large; or it has not the frames asked for.
    """
    source, asked = Path(path), _Selection(start, count, stride)
    if source.is_dir():
        return _read_folder(source, asked)
    if not source.is_file():
        raise InputError(f"There is no clip '{source}'; check the name.")
    suffix = source.suffix.lower()
    if suffix == ".safetensors" or (suffix in CLIP_SUFFIXES and _own_record(source) is not None):
        whole = load_clip(source)
        taken = [whole.frames[index] for index in asked.indices(source, len(whole.frames))]
        return asked.clip(source, taken, whole.fps)
    if suffix in _ALL_DEMUXERS:
        return _read_video(source, _ALL_DEMUXERS[suffix], asked)
    if suffix in _ANIMATIONS:
        return _read_animation(source, _ANIMATIONS[suffix], asked)
    raise InputError(
        f"'{source}' is no known kind of clip; known are {', '.join(READABLE_SUFFIXES)} and "
        "folders of pictures."
    )


def count_frames(path: str | os.PathLike[str]) -> int:
    """How many frames `read_frames` finds in a clip; of a video none is kept or converted.

    All are decoded: what the header of a video says of their number is often wrong.  Raises
    InputError as `read_frames` does.
    """
    source = Path(path)
    demuxer = _ALL_DEMUXERS.get(source.suffix.lower())
    if demuxer is None or not source.is_file():
        return len(read_frames(source).frames)
    _check_whole(source, demuxer)
    seen = 0
    with opened_video(demuxer, source) as video:
        for picture in video.decode(_stream(source, video)):
            if picture.is_corrupt:
                raise InputError(f"'{source}' is damaged at frame {seen}.")
            seen += 1
    if seen == 0:
        raise InputError(f"'{source}' holds no frames; it is empty or damaged.")
    return seen


@dataclass(frozen=True)
class _Selection:
    """Frames start, start + stride, ...: `count` of them, or all to the end."""

    start: int
    count: int | None
    stride: int

    def __post_init__(self) -> None:
        if self.start < 0:
            raise InputError(f"The first frame must be 0 or later, not {self.start}.")
        if self.stride < 1:
            raise InputError(f"The stride must be at least 1, not {self.stride}.")
        if self.count is not None and not 1 <= self.count <= MAX_FRAMES:
            raise InputError(f"The number of frames must be 1 to {MAX_FRAMES}, not {self.count}.")

    def wants(self, index: int) -> bool:
        return index >= self.start and (index - self.start) % self.stride == 0

    def indices(self, path: Path, num_frames: int) -> range:
        """What is taken of a clip of `num_frames`.  Raises InputError if it has not enough."""
        stop = num_frames
        if self.count is not None:
            stop = self.start + (self.count - 1) * self.stride + 1
        if stop > num_frames or self.start >= num_frames:
            raise InputError(
                f"'{path}' has {num_frames} frames, which is too few for {self._words()}; "
                "ask for fewer frames, a smaller stride or an earlier start."
            )
        return range(self.start, stop, self.stride)

    def check_size(self, path: Path, num_frames: int | None, height: int, width: int) -> None:
        """Before decoding: raise InputError if the frames asked for would be too large.

        `num_frames`: of the whole clip, None if it does not tell.
        """
        if height * width > MAX_PIXELS:
            raise InputError(
                f"'{path}' has frames of {width} x {height} pixels; at most {MAX_PIXELS} pixels "
                "are read: make it smaller first."
            )
        taken = self.count or len(range(self.start, num_frames or 0, self.stride))
        if taken > MAX_FRAMES:
            raise InputError(
                f"'{path}' has {taken} such frames; at most {MAX_FRAMES} are read: say how many."
            )
        check_decoded_size(path, taken, height, width)

    def clip(self, path: Path, frames: list[NDArray[np.uint8]], fps: float) -> Clip:
        """The taken frames at the speed of the whole clip, of which `fps` is the rate."""
        return Clip(stack_frames(path, frames), fps / self.stride)

    def _words(self) -> str:
        number = "frames" if self.count is None else f"{self.count} frames"
        return f"{number} from {self.start} on in steps of {self.stride}"


def _read_video(path: Path, demuxer: str, asked: _Selection) -> Clip:
    _check_whole(path, demuxer)
    frames: list[NDArray[np.uint8]] = []
    seen = 0
    with opened_video(demuxer, path) as source:
        stream = _stream(path, source)
        asked.check_size(path, stream.frames or None, stream.height, stream.width)
        for picture in source.decode(stream):
            if asked.wants(seen):
                # Again: the header may be silent or wrong, and the size may change on the way.
                asked.check_size(path, seen + 1, picture.height, picture.width)
                if picture.is_corrupt:
                    raise InputError(f"'{path}' is damaged at frame {seen}.")
                frames.append(upright(picture))
            seen += 1
            if len(frames) == asked.count:
                break
        fps = float(stream.average_rate or DEFAULT_FPS)
    if len(frames) != asked.count:
        asked.indices(path, seen)  # are there as many as asked?
    return asked.clip(path, frames, fps)


def _stream(path: Path, source: Any) -> Any:
    """The video in an opened file.  Raises InputError if there is none."""
    # A cover picture is a stream of video, too.
    streams = [s for s in source.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise InputError(f"'{path}' holds no video.")
    return streams[0]


def _check_whole(path: Path, demuxer: str) -> None:
    """Raise InputError if a video is shorter than it says."""
    if demuxer in VIDEO_DEMUXERS.values():
        check_not_cut_short(path, demuxer)
        return
    with path.open("rb") as stream:
        head = stream.read(8)
        size = stream.seek(0, os.SEEK_END)
    # "RIFF" and how much follows, in whole pairs of bytes; a writer that cannot go back says 0.
    length = int.from_bytes(head[4:], "little") if head[:4] == b"RIFF" else 0
    if length and size < 8 + length - length % 2:
        raise InputError(
            f"'{path}' is cut short: {size} of {8 + length} bytes or more are there; copy it again."
        )


def upright(picture: Any) -> NDArray[np.uint8]:
    """A decoded frame as RGB (h w 3), turned by the display matrix to the next quarter."""
    frame = picture.to_ndarray(format="rgb24", interpolation=EXACT_SCALING)
    # PyAV and numpy both count counterclockwise.
    return np.rot90(frame, round(picture.rotation / 90))


def _read_animation(path: Path, pillow_format: str, asked: _Selection) -> Clip:
    frames: list[NDArray[np.uint8]] = []
    milliseconds = 0.0
    with open_picture(path, (pillow_format,)) as picture:
        num_frames = getattr(picture, "n_frames", 1)
        indices = asked.indices(path, num_frames)
        asked.check_size(path, num_frames, picture.height, picture.width)
        # One after another, as each is drawn over the one before.
        for index in range(indices[-1] + 1):
            picture.seek(index)
            picture.load()  # before this a WebP does not tell its duration
            milliseconds += picture.info.get("duration", 0)
            if index in indices:
                frames.append(np.asarray(to_rgb(picture)))
    fps = 1000 * (indices[-1] + 1) / milliseconds if milliseconds else DEFAULT_FPS
    return asked.clip(path, frames, fps)


def _read_folder(folder: Path, asked: _Selection) -> Clip:
    pictures = sorted(
        (entry for entry in folder.iterdir() if entry.suffix.lower() in _PICTURES), key=_in_order
    )
    if not pictures:
        raise InputError(
            f"'{folder}' holds no pictures; give a folder of PNG, JPEG or WebP frames."
        )
    taken = [pictures[index] for index in asked.indices(folder, len(pictures))]
    first = load_image(taken[0])
    asked.check_size(folder, len(pictures), *first.shape[:2])
    record = _own_record(folder) if pictures[0].suffix.lower() == ".png" else None
    fps = record.fps if record is not None else None
    return asked.clip(folder, [first, *map(load_image, taken[1:])], fps or DEFAULT_FPS)


def _in_order(path: Path) -> list[tuple[int, int, str]]:
    """A key that sorts frame-2 before frame-10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _own_record(path: Path) -> OutputRecord | None:
    """How this package wrote a clip; None for a clip of other origin."""
    note = check_clip_path(path).read_note(path)
    try:
        return Provenance.from_json(note).output if note is not None else None
    except InputError:
        return None  # a foreign clip may carry any comment
