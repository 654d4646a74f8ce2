"""How colourful and how bright the frames of a clip are, and whether that drifts.

The saturation S of a picture is the mean over its pixels of max(R, G, B) − min(R, G, B), 0 to 255:
0 is grey, 255 pure colour everywhere.  It is the chroma of the HSV hexagon, which unlike HSV's own
saturation does not make nearly black pixels count as colourful (Smith, SIGGRAPH 1978).

The brightness L of a picture is the mean over its pixels of 0.299 R + 0.587 G + 0.114 B, 0 to 255:
the luma of ITU-R BT.601, of values as they are stored, not of light.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LUMA = np.array((0.299, 0.587, 0.114))


def saturation(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """S of each picture (... h w 3), 0 to 255, in the shape of what is before h w 3."""
    chroma = frames.max(axis=-1).astype(np.float64) - frames.min(axis=-1)
    return np.asarray(chroma.mean(axis=(-2, -1)))


def brightness(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """L of each picture (... h w 3), 0 to 255, in the shape of what is before h w 3."""
    return np.asarray(frames.astype(np.float64).mean(axis=(-3, -2)) @ _LUMA)


def saturation_drift(frames: NDArray[np.uint8]) -> float:
    """100 · (S_late / S_1 − 1) in per cent of a clip (f h w 3), f at least 2.

    S_1 is that of frame 1, S_late the mean over the last third of the frames: negative if the
    colours fade, positive if they burn.  NaN if frame 1 is grey.
    """
    return _drift(saturation(frames))


def brightness_drift(frames: NDArray[np.uint8]) -> float:
    """100 · (L_late / L_1 − 1) in per cent of a clip (f h w 3), f at least 2.

    L_1 and L_late as for `saturation_drift`: negative if the clip darkens.  NaN if frame 1 is
    black.
    """
    return _drift(brightness(frames))


def _drift(values: NDArray[np.float64]) -> float:
    late = float(values[-max(len(values) // 3, 1) :].mean())
    return 100 * (late / float(values[0]) - 1) if values[0] > 0 else float("nan")
