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


def insert_first_frame(latents: Tensor, still: Tensor) -> Tensor:
    """`latents` (b c f h w) with frame 1 replaced by `still` (b c h w), as a new tensor."""
    return torch.cat([still.unsqueeze(2), latents[:, :, 1:]], dim=2)


def attend_to_first_row(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Self-attention of all rows with the keys and values of one: o_i = softmax(q_i K_1ᵀ/√d) V_1.

    `q` (b r heads n d), `k` and `v` (b heads n d) -> (b r heads n d).  The rows r are laid behind
    each other in the query axis, so that keys and values are projected once and never repeated.
    """
    rows_behind_heads = q.transpose(1, 2)
    folded = rows_behind_heads.flatten(2, 3)  # b heads (r n) d
    return global_attention(folded, k, v).view_as(rows_behind_heads).transpose(1, 2)


class SharedKeysValues(Adapter):
    """All rows of a video use the keys and values of its first row in spatial self-attention.

    The first row is frame 1, or the reference row if the context has one.  Guidance halves and
    samples never mix.
    """

    def __init__(self, context: FrameContext) -> None:
        self._context = context

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(spatial_self_attentions(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for attention in spatial_self_attentions(model).values():
            replace_attention(attention, self._attend, undo)

    def _attend(self, layer: ProjectedAttention, x: Tensor) -> Tensor:
        first = self._context.unfold(x)[:, 0]
        q = self._context.unfold(layer.split(layer.to_q(x)))
        k, v = layer.split(layer.to_k(first)), layer.split(layer.to_v(first))
        return layer.output(attend_to_first_row(q, k, v).flatten(0, 1))
