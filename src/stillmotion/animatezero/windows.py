"""Windows over the frames of a clip: with both ends given (C.2), and for clips of any length.

Symbols as in `temporal_control.py`; l slots of a window, of which the paper has as many as frames.
A window of fixed length that slides along the clip keeps time and memory linear in its length, and
never needs a position beyond those that the motion modules were trained with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stillmotion.animatezero.attention import global_attention
from stillmotion.animatezero.temporal_control import Pool, corrected_window_attention
from stillmotion.diffusion.windows import blended


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


def sliding_attention(q: Tensor, keys: Pool, values: Pool, src: Tensor) -> Tensor:
    """`corrected_window_attention` for `src` (f l) of any f, computed in blocks of l rows.

    A block needs only the tokens that its windows reach, fewer than 2 l, so that cost is linear
    in f.  `src` lies on the host, where its values can be read without waiting for a device.
    Shapes as there.
    """
    blocks: list[Tensor] = []
    for start in range(0, len(src), src.shape[1]):
        rows = src[start : start + src.shape[1]]
        low, high = int(rows.min()), int(rows.max()) + 1
        blocks.append(
            corrected_window_attention(
                q[..., start : start + len(rows), :],
                Pool(keys.token[..., low:high, :], keys.position),
                Pool(values.token[..., low:high, :], values.position),
                (rows - low).to(q.device),
            )
        )
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)


def overlapping_attention(q: Pool, k: Pool, v: Pool) -> Tensor:
    """Global attention within overlapping windows, blended, for a clip longer than they are.

    Each window of l frames is seen with the positions p_1..p_l.  A frame's results are averaged
    with weights that fall off linearly towards the borders of a window, so none shows.
    Token parts (... heads f d), position parts (heads l d) -> (... heads f d).
    """

    def seen(frames: slice) -> Tensor:
        return global_attention(*(p.token[..., frames, :] + p.position for p in (q, k, v)))

    return blended(q.token.shape[-2], q.position.shape[-2], -2, seen)
