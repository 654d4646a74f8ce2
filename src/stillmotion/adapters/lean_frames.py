"""Attention over frames for tokens that lie as pictures: (b f n c), frames before locations.

diffusers lays its tokens out anew for it, as ((b n) f c).  Whoever attends here is given both: in
its layout every clip is one location, (b f 1 c).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from torch import Tensor, nn

from stillmotion.adapters.adapter import shadow
from stillmotion.adapters.diffusers_sites import ProjectedAttention

AttendFrames = Callable[[ProjectedAttention, Tensor], Tensor]
"""(b f n c) -> (b f n c), all of an attention from the input to the output projection."""


class FrameAttentionProcessor:
    """Lets a function on (b f n c) act as an attention processor of a motion module."""

    def __init__(self, attend: AttendFrames) -> None:
        self.attend = attend

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is None
        assert attention_mask is None
        return self.attend(ProjectedAttention(attn), hidden_states.unsqueeze(2)).squeeze(2)


def replace_frame_attention(attention: nn.Module, attend: AttendFrames, undo: ExitStack) -> None:
    """Let `attend` compute what `attention`, which is over frames, does."""
    shadow(attention, "processor", FrameAttentionProcessor(attend), undo)


def split_frames(layer: ProjectedAttention, x: Tensor) -> Tensor:
    """(b f n c) -> (b n heads f d), or (b heads f d) for one location: a view."""
    heads = layer.split(x)  # b f heads n d
    return heads[..., 0, :].transpose(1, 2) if x.shape[2] == 1 else heads.permute(0, 3, 2, 1, 4)


def frames_output(layer: ProjectedAttention, x: Tensor) -> Tensor:
    """The output projection of what `split_frames` gave the shape of -> (b f n c)."""
    if x.ndim == 4:
        return layer.output(x.transpose(1, 2).unsqueeze(-2))
    return layer.output(x.permute(0, 3, 2, 1, 4))
