"""A clip as one picture, its frames side by side, for pages that play clips in step.

A browser plays each WebP animation by its own clock; from one picture a page can draw the same
frame of all clips at once.
"""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]
MAX_SIDE = 16383
"""Pixels of a WebP picture."""


def sheet(frames: Frames, columns: int) -> Frames:
    """Frames (f h w 3) in rows of `columns`, from the top left: one picture (h w 3).

    Places left over repeat the last frame: compression blurs what lies side by side.
    """
    count, height, width = frames.shape[:3]
    rows = math.ceil(count / columns)
    placed = frames[np.minimum(np.arange(rows * columns), count - 1)]
    placed = placed.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return np.ascontiguousarray(placed.reshape(rows * height, columns * width, 3))


def webp(picture: Frames, quality: int | None) -> bytes:
    """A picture (h w 3) as a WebP file that holds nothing but its pixels; None: without loss."""
    buffer = io.BytesIO()
    options = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    Image.fromarray(picture).save(buffer, format="WEBP", method=4, **options)
    return buffer.getvalue()


def data_uri(file: bytes) -> str:
    """A WebP file as an address that a page holds itself."""
    return f"data:image/webp;base64,{base64.b64encode(file).decode('ascii')}"
