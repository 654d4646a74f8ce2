"""Spatial appearance control (section 4.1): frame 1 is the still, and all frames look like it.

The section has no numbered equations.  Frame 1 has index 0 here.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext
from stillmotion.adapters.diffusers_sites import (
    ProjectedAttention,
    replace_attention,
    spatial_self_attentions,
)
from stillmotion.animatezero.attention import global_attention
from stillmotion.animatezero.windows import EndBlend


def insert_frame(latents: Tensor, still: Tensor, frame: int = 0) -> Tensor:
    """`latents` (b c f h w) with one frame replaced by `still` (b c h w), as a new tensor."""
    before, after = latents[:, :, :frame], latents[:, :, frame + 1 :]
    return torch.cat([before, still.unsqueeze(2), after], dim=2)


def attend_to_row(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Self-attention of all rows with the keys and values of one: o_i = softmax(q_i K_1ᵀ/√d) V_1.

    `q` (b r heads n d), `k` and `v` (b heads n d) -> (b r heads n d).  The rows r are laid behind
    each other in the query axis, so that keys and values are projected once and never repeated.
    """
    rows_behind_heads = q.transpose(1, 2)
    folded = rows_behind_heads.flatten(2, 3)  # b heads (r n) d
    return global_attention(folded, k, v).view_as(rows_behind_heads).transpose(1, 2)


def laid_as_tokens(q: Tensor) -> Tensor:
    """Room for what (b r heads n d) queries find, lying as the output projection reads it."""
    b, r, heads, n, d = q.shape
    return q.new_empty(b, r, n, heads, d).transpose(2, 3)


class SharedKeysValues(Adapter):
    """All rows of a video use the keys and values of its first row in spatial self-attention.

    The first row is frame 1, or the reference row if the context has one.  With both ends given,
    results with those of the last frame (or second reference row) are blended in.  With `apart`
    the reference row sees itself, and all frames see frame 1.  Guidance halves and samples never
    mix.
    """

    def __init__(
        self, context: FrameContext, ends: EndBlend | None = None, *, apart: bool = False
    ) -> None:
        self._context, self._ends, self._apart = context, ends, apart

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(spatial_self_attentions(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for attention in spatial_self_attentions(model).values():
            replace_attention(attention, self._attend, undo)

    def _attend(self, layer: ProjectedAttention, x: Tensor) -> Tensor:
        rows = self._context.unfold(x)
        q = self._context.unfold(layer.split(layer.to_q(x)))
        if self._apart:
            out = laid_as_tokens(q)
            out[:, :1] = self._attend_to(rows[:, 0], q[:, :1], layer)
            out[:, 1:] = self._attend_to(rows[:, 1], q[:, 1:], layer)
            return layer.output(out.flatten(0, 1))
        from_start = self._attend_to(rows[:, 0], q, layer)
        if self._ends is None:
            return layer.output(from_start.flatten(0, 1))
        num_references = self._context.num_reference_rows
        from_end = self._attend_to(rows[:, 1 if num_references else -1], q, layer)
        mixed = self._ends.mix(
            from_start[:, num_references:], from_end[:, num_references:], (-1, 1, 1, 1)
        )
        if num_references:  # each of the two rows sees itself
            mixed = torch.cat([from_start[:, :1], from_end[:, 1:2], mixed], dim=1)
        return layer.output(mixed.flatten(0, 1))

    @staticmethod
    def _attend_to(row: Tensor, q: Tensor, layer: ProjectedAttention) -> Tensor:
        k, v = layer.split(layer.to_k(row)), layer.split(layer.to_v(row))
        return attend_to_row(q, k, v)
