"""A folder of PNG pictures, one per frame: exact, and open to every other tool."""

from __future__ import annotations

from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.media.container import (
    DEFAULT_FPS,
    Clip,
    Container,
    Recording,
    check_decoded_size,
    stack_frames,
)
from stillmotion.media.images import PNG_KEY, load_image, png_options, read_png_text, write_picture
from stillmotion.media.provenance import OutputRecord

FRAME_PATTERN = "frame-*.png"


def _write(clip: Recording, folder: Path) -> None:
    for index, frame in enumerate(clip.frames):
        write_picture(frame, folder / f"frame-{index:05d}.png", **png_options(clip.note))


def _read(folder: Path, record: OutputRecord | None) -> Clip:
    frames = []
    for index, path in enumerate(_pictures(folder)):
        frames.append(load_image(path))
        check_decoded_size(folder, index + 1, *frames[0].shape[:2])
    fps = record.fps if record is not None else None
    return Clip(stack_frames(folder, frames), fps or DEFAULT_FPS)


def _read_note(folder: Path) -> str | None:
    return read_png_text(_pictures(folder)[0]).get(PNG_KEY)


def _pictures(folder: Path) -> list[Path]:
    pictures = sorted(folder.glob("*.png"))
    if not pictures:
        raise InputError(f"'{folder}' holds no PNG pictures; give a folder of frames.")
    return pictures


PNG_FOLDER = Container(
    name="png",
    suffix="",
    lossless=True,
    write=_write,
    read=_read,
    read_note=_read_note,
    is_folder=True,
)
