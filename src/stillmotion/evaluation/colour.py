"""How colourful the frames of a clip are, and whether their colours fade or burn.

The saturation S of a picture is the mean over its pixels of max(R, G, B) − min(R, G, B), 0 to 255:
0 is grey, 255 pure colour everywhere.  It is the chroma of the HSV hexagon, which unlike HSV's own
saturation does not make nearly black pixels count as colourful (Smith, SIGGRAPH 1978).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def saturation(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """S of each picture (... h w 3), 0 to 255, in the shape of what is before h w 3."""
    chroma = frames.max(axis=-1).astype(np.float64) - frames.min(axis=-1)
    return np.asarray(chroma.mean(axis=(-2, -1)))


def saturation_drift(frames: NDArray[np.uint8]) -> float:
    """100 · (S_late / S_1 − 1) in per cent of a clip (f h w 3), f at least 2.

    S_1 is that of frame 1, S_late the mean over the last third of the frames: negative if the
    colours fade, positive if they burn.  NaN if frame 1 is grey.
    """
    values = saturation(frames)
    late = float(values[-max(len(values) // 3, 1) :].mean())
    return 100 * (late / float(values[0]) - 1) if values[0] > 0 else float("nan")
