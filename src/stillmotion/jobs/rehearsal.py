"""What the writer of a clip refuses, it refuses before the clip is made."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillmotion.errors import InputError
from stillmotion.media.clips import check_clip_path, save_clip
from stillmotion.media.container import MAX_CLIP_PIXELS
from stillmotion.media.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class ClipAhead:
    """A clip as it will be; height and width in pixels, before they are enlarged by `scale`."""

    num_frames: int
    height: int
    width: int
    fps: float
    scale: int = 1


def rehearse(clip: ClipAhead, output: Path, record: Provenance) -> None:
    """Write one black frame of the clip, in the format of `output`, to a temporary folder.

    Raises InputError or OutputError for what cannot be written, or would be too large.
    """
    width, height = clip.width * clip.scale, clip.height * clip.scale
    if clip.num_frames * height * width > MAX_CLIP_PIXELS:
        raise InputError(
            f"{clip.num_frames} frames of {width} x {height} pixels are more than one clip may "
            f"have ({MAX_CLIP_PIXELS} pixels); choose a smaller scale or fewer frames."
        )
    frame = np.zeros((1, clip.height, clip.width, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="stillmotion-") as folder:
        path = Path(folder) / f"rehearsal{check_clip_path(output).suffix}"
        save_clip(frame, path, fps=clip.fps, scale=clip.scale, provenance=record, side_car=False)
