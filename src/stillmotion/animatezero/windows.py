"""Windows over the frames of a clip: with both ends given (C.2), and for clips of any length.

Symbols as in `temporal_control.py`; l slots of a window, of which the paper has as many as frames.
A window of fixed length that slides along the clip keeps time and memory linear in its length, and
never needs a position beyond those that the motion modules were trained with.
"""

from __future__ import annotations

import torch
from torch import Tensor


class EndBlend:
    """How much each frame is drawn to the last frame instead of the first: w_1 = 0 .. w_f = 1.

    Shared by the spatial and the temporal control of one clip.
    """

    def __init__(self, num_frames: int) -> None:
        self.weights = torch.linspace(0, 1, num_frames, dtype=torch.float64)

    def mix(self, from_start: Tensor, from_end: Tensor, like: tuple[int, ...]) -> Tensor:
        """(1 − w_i) start + w_i end, w in the shape `like`, exactly one of them at the ends."""
        return torch.lerp(from_start, from_end, self.weights.to(from_start).view(like))


def end_index(num_frames: int, length: int, device: torch.device | None = None) -> Tensor:
    """The mirror image of `src_index` for a given last frame: int64 (f l), row i, column s.

    Counted from 1, min(f, i + s − 1): frame i in the first slot, then those that follow it, and
    the last frame in all slots that are left.  The query has position p_1.  Fig. 9(b) draws both
    ends emphasised and gives no formula; see docs/decisions/0005.
    """
    frame = torch.arange(num_frames, device=device)[:, None]
    slot = torch.arange(length, device=device)[None, :]
    return (frame + slot).clamp(max=num_frames - 1)
