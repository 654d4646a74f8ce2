"""Clips in and out; the format follows from the name of the file.

    .mp4          H.264, plays everywhere; loses a little (colour at half resolution)
    .webm         VP9, the same
    .gif          256 colours, one palette for the clip
    .webp         animated, exact
    .safetensors  exact, with the latents
    no ending     a folder of PNG frames, exact; likewise a name that ends in "/"

Every one carries its provenance inside and in the side-car `<name>.json`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stillmotion.errors import InputError, OutputError
from stillmotion.media.animation import GIF, WEBP
from stillmotion.media.container import (
    DEFAULT_FPS,
    MAX_CLIP_PIXELS,
    MIN_FPS,
    Clip,
    Container,
    Recording,
)
from stillmotion.media.images import (
    PNG_KEY,
    read_png_text,
    side_car_path,
    with_side_car,
)
from stillmotion.media.picture_folder import FRAME_PATTERN, PNG_FOLDER
from stillmotion.media.provenance import OutputRecord, Provenance
from stillmotion.media.tensors import SAFETENSORS
from stillmotion.media.video import MP4, WEBM
from stillmotion.runtime.files import atomic_folder, atomic_path

if TYPE_CHECKING:
    import torch

__all__ = ["Clip", "check_clip_path", "load_clip", "read_provenance", "save_clip"]

_FILES = {container.suffix: container for container in (MP4, WEBM, GIF, WEBP, SAFETENSORS)}
CLIP_SUFFIXES = tuple(_FILES)


def save_clip(
    frames: NDArray[np.uint8],
    path: str | os.PathLike[str],
    *,
    fps: float = DEFAULT_FPS,
    provenance: Provenance,
    overwrite: bool = False,
    latents: torch.Tensor | None = None,
    side_car: bool = True,
    scale: int = 1,
) -> None:
    """Write frames, uint8 (f h w 3) in 0..255, as the format that the name asks for.

    Each pixel is enlarged to `scale` x `scale` (players show a 64 x 64 clip tiny); for mp4 and
    webm an odd size is padded by one repeated row or column.  Both are noted in the provenance
    (`output`).  `latents` (b c f h w) go with .safetensors only.  The same frames and provenance
    give the same bytes.  Nothing half-written is ever left.  Raises OutputError if the name is
    unknown or taken (without `overwrite`) or cannot be written, InputError for other bad values.
    """
    container = check_clip_path(path)
    target = Path(path)
    _check_frames(frames, fps, scale)
    if latents is not None and container is not SAFETENSORS:
        raise OutputError(f"'{target}' cannot hold latents; use the ending .safetensors for them.")
    frames, output = _prepare(frames, container, fps=fps, scale=scale)
    note = provenance.model_copy(update={"output": output}).to_json()
    recording = Recording(frames, fps, note, latents)
    with with_side_car(target, note if side_car else None, overwrite=overwrite):
        if container.is_folder:
            _check_only_frames(target)
            with atomic_folder(target, overwrite=overwrite) as temporary:
                container.write(recording, temporary)
        else:
            with atomic_path(target, overwrite=overwrite) as temporary:
                container.write(recording, temporary)


def load_clip(path: str | os.PathLike[str]) -> Clip:
    """Read a clip: frames uint8 (f h w 3) without padding, but as enlarged; and its fps.

    Raises InputError if it is missing, damaged, cut short, too large or of an unknown format.
    """
    source = Path(path)
    container = _existing_container(source)
    record = _output_record(source, container)
    clip = container.read(source, record)
    if record is not None:
        expected = (record.num_frames, record.height, record.width, 3)
        if clip.frames.shape != expected:
            raise InputError(
                f"'{source}' is cut short or was changed: its record tells of frames "
                f"{expected}, it holds {clip.frames.shape}."
            )
    return clip


def read_provenance(path: str | os.PathLike[str]) -> Provenance:
    """How a clip or still was made: from inside the file, else from its side-car.

    Raises InputError if the file is missing or neither place has a readable record.
    """
    source = Path(path)
    side_car = side_car_path(source)
    problem: InputError | None = None
    try:
        note = _embedded_note(source)
        if note is not None:
            return Provenance.from_json(note)
    except InputError as error:
        if not source.exists():
            raise
        problem = error
    if side_car.is_file():
        return Provenance.from_json(side_car.read_text(encoding="utf-8", errors="replace"))
    if problem is not None:
        raise problem
    raise InputError(
        f"'{source}' carries no provenance and there is no '{side_car}'; it was not made by "
        "stillmotion, or its record was removed."
    )


def check_clip_path(path: str | os.PathLike[str]) -> Container:
    """The format for a clip to be written to `path`.  Raises OutputError if there is none."""
    text, suffix = os.fspath(path), Path(path).suffix.lower()
    if text.endswith(("/", os.sep)) or suffix == "":
        return PNG_FOLDER
    if suffix in _FILES:
        return _FILES[suffix]
    if Path(path).is_dir():
        return PNG_FOLDER
    hint = " (for PNG frames give a folder, such as 'frames/')" if suffix == ".png" else ""
    raise OutputError(
        f"'{text}' has the unknown ending '{suffix}'; use one of {', '.join(CLIP_SUFFIXES)}, or "
        f"a name without ending for a folder of PNG frames{hint}."
    )


def _existing_container(source: Path) -> Container:
    if source.is_dir():
        return PNG_FOLDER
    if not source.is_file():
        raise InputError(f"There is no clip '{source}'; check the name.")
    try:
        return _FILES[source.suffix.lower()]
    except KeyError:
        raise InputError(
            f"'{source}' is no known kind of clip; known are {', '.join(CLIP_SUFFIXES)} and "
            "folders of PNG frames."
        ) from None


def _embedded_note(source: Path) -> str | None:
    if source.is_file() and source.suffix.lower() == ".png":
        return read_png_text(source).get(PNG_KEY)
    return _existing_container(source).read_note(source)


def _output_record(source: Path, container: Container) -> OutputRecord | None:
    note = container.read_note(source)
    if note is None:
        return None
    try:
        return Provenance.from_json(note).output
    except InputError:
        return None  # a foreign clip may carry any comment


def _check_frames(frames: NDArray[np.uint8], fps: float, scale: int) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or frames.size == 0:
        raise InputError(
            f"A clip must be uint8 of shape (f h w 3), not {frames.dtype} of shape {frames.shape}."
        )
    if not fps >= MIN_FPS:
        raise InputError(f"fps must be at least {MIN_FPS}, not {fps}.")
    if scale < 1:
        raise InputError(f"The scale must be a whole number of at least 1, not {scale}.")


def _prepare(
    frames: NDArray[np.uint8], container: Container, *, fps: float, scale: int
) -> tuple[NDArray[np.uint8], OutputRecord]:
    """Enlarge and pad frames (f h w 3) as the format needs, and say what was done."""
    if fps > container.max_fps:
        raise InputError(
            f"A {container.name} clip plays at most {container.max_fps:g} frames per second, "
            f"not {fps:g}; lower fps or choose another format."
        )
    num_frames, height, width = frames.shape[0], frames.shape[1] * scale, frames.shape[2] * scale
    if max(height, width) > container.max_side:
        raise InputError(
            f"A {container.name} clip is at most {container.max_side} pixels wide and high, not "
            f"{width} x {height}; choose a smaller scale or another format."
        )
    if num_frames * height * width > MAX_CLIP_PIXELS:
        raise InputError(
            f"{num_frames} frames of {width} x {height} pixels are more than one clip may have "
            f"({MAX_CLIP_PIXELS} pixels); choose a smaller scale or fewer frames."
        )
    bottom, right = (height % 2, width % 2) if container.even_sizes else (0, 0)
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    frames = np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
    output = OutputRecord(
        format=container.name,
        lossless=container.lossless,
        num_frames=num_frames,
        width=width,
        height=height,
        fps=fps,
        scale=scale,
        pad_right=right,
        pad_bottom=bottom,
    )
    return frames, output


def _check_only_frames(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but frames, however forcefully asked."""
    if not folder.is_dir():
        return
    frames = set(folder.glob(FRAME_PATTERN))
    foreign = next((entry for entry in folder.iterdir() if entry not in frames), None)
    if foreign is not None:
        raise OutputError(
            f"'{folder}' holds '{foreign.name}', which is no frame of a clip, and is never "
            "replaced; choose another folder."
        )
