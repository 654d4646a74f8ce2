"""Everything this package knows about the inside of diffusers' UNetMotionModel.

Pinned by tests/contracts/test_diffusers_sites.py: when an upgrade of diffusers moves something,
that test fails and this file is the one to mend.  The facts:

* Spatial layers see ((b f) n c), frames fastest; temporal layers see ((b h w) f c).
* A temporal block adds its table of positions before attn1 and again before attn2, both of which
  are self-attentions over frames; the processor receives the sum.  The table raises an error
  for more frames than it has rows.
* `cross_attention_kwargs` never reach the motion modules, and reach a spatial processor only
  under a name that it declares; hence adapters carry what they need themselves.
* `UNetMotionModel.set_attn_processor` empties the dictionary it is given and wants all names at
  once; hence processors are put on each attention by itself.
* The GroupNorm of a motion module runs over (c/g f h w), all frames together; the network was
  trained with each frame normalised by itself.
* Without its motion modules the network is the image model that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, shadow
from stillmotion.errors import ModelError

Block = Literal["down", "mid", "up"]
Attend = Callable[["ProjectedAttention", Tensor], Tensor]
Projection = Callable[[Tensor], Tensor]

JOINT_PROJECTION = "_stillmotion_to_qkv"
"""Attribute of an attention under which its three projections may lie as one."""


@dataclass(frozen=True)
class TemporalSite:
    """A self-attention over frames and the module that added the positions to its input."""

    attention: nn.Module
    pos_embed: nn.Module

    def positions(self, like: Tensor, length: int, speed: float = 1.0) -> Tensor:
        """Rows p_1..p_l of the table, as (l c) of the dtype and on the device of `like`.

        With another `speed` the rows lie so far apart, and those between the table's own are
        interpolated.  Read from the module at every call: offloading and `.to()` replace the
        tensor.
        """
        table = self.pos_embed.get_buffer("pe")[0]
        if speed == 1:
            return table[:length].to(like)
        at = speed * torch.arange(length, dtype=torch.float32, device=table.device)
        before = at.long().clamp(max=len(table) - 2)
        share = (at - before).unsqueeze(-1)
        return torch.lerp(table[before].float(), table[before + 1].float(), share).to(like)


def motion_modules(unet: nn.Module) -> dict[str, nn.Module]:
    """The motion modules by name; a mid-block one is absent from AnimateDiff v1 and v3."""
    return {
        name: module
        for name, module in unet.named_modules()
        if name.rpartition(".")[0].endswith(".motion_modules")
    }


def is_motion_parameter(name: str) -> bool:
    """Whether a name in a state dict belongs to a motion module."""
    return ".motion_modules." in name


def spatial_self_attentions(unet: nn.Module) -> dict[str, nn.Module]:
    """attn1 of every spatial transformer block: 16 in Stable Diffusion 1.5."""
    return {
        name: _plain_self_attention(name, module)
        for name, module in unet.named_modules()
        if name.endswith(".attn1") and not is_motion_parameter(name)
    }


def temporal_attentions(unet: nn.Module, blocks: Sequence[Block]) -> dict[str, TemporalSite]:
    """attn1 and attn2 of every motion module in `blocks`, with their tables of positions.

    Raises ModelError if a motion module has no positions or was replaced (FreeNoise does that).
    """
    prefixes = tuple(
        {"down": "down_blocks.", "mid": "mid_block.", "up": "up_blocks."}[b] for b in blocks
    )
    sites = {}
    for name, block in unet.named_modules():
        if not (name.startswith(prefixes) and is_motion_parameter(name)):
            continue
        if name.rpartition(".")[0].endswith(".transformer_blocks"):
            if not isinstance(block, BasicTransformerBlock) or block.pos_embed is None:
                raise ModelError(
                    f"The motion block '{name}' is a {type(block).__name__} without the usual "
                    "positions; window attention needs AnimateDiff's own (disable_free_noise())."
                )
            for which in ("attn1", "attn2"):
                attention = _plain_self_attention(f"{name}.{which}", getattr(block, which))
                sites[f"{name}.{which}"] = TemporalSite(attention, block.pos_embed)
    return sites


def check_unextended(pipe: Any) -> None:
    """Raises ModelError if an extension of `AnimateDiffPipeline` is on that changes its loop."""
    switched_on = {
        "FreeInit; call disable_free_init()": pipe.free_init_enabled,
        "FreeNoise; call disable_free_noise()": pipe.free_noise_enabled,
    }
    for what, is_on in switched_on.items():
        if is_on:
            raise ModelError(f"AnimateZero does not work together with {what} first.")


def max_frames(unet: nn.Module) -> int:
    """Rows of the shortest table of positions: the most frames the network can take at once."""
    tables = [m for name, m in unet.named_modules() if name.endswith(".pos_embed")]
    rows: list[int] = [table.get_buffer("pe").shape[1] for table in tables]
    if not rows:
        raise ModelError(
            "The U-Net has no motion modules; load one with a motion adapter to make videos."
        )
    return min(rows)


def latent_multiple(unet: Any) -> int:
    """What height and width of the latents must be multiples of: 2^(number of downsamplings)."""
    blocks = [block for block in unet.down_blocks if block.downsamplers is not None]
    return 1 << len(blocks)


def is_plain_attention(attention: Any) -> bool:
    """Whether `ProjectedAttention` tells all that an attention does, but for what it reads."""
    extras = ("spatial_norm", "group_norm", "norm_q", "norm_k", "norm_cross")
    return (
        not attention.residual_connection
        and attention.rescale_output_factor == 1.0
        and all(getattr(attention, extra, None) is None for extra in extras)
    )


def _plain_self_attention(name: str, attention: nn.Module) -> nn.Module:
    """`attention` itself, if `ProjectedAttention` tells all that it does."""
    if attention.is_cross_attention or not is_plain_attention(attention):
        raise ModelError(
            f"The attention '{name}' is not the plain self-attention of Stable Diffusion 1.5 and "
            "AnimateDiff; use a model of that family."
        )
    return attention


class ProjectedAttention:
    """The projections of a diffusers `Attention`, through whatever LoRA wraps them."""

    def __init__(self, attention: Any) -> None:
        self.to_q: Callable[[Tensor], Tensor] = attention.to_q
        self.to_k: Callable[[Tensor], Tensor] = attention.to_k
        self.to_v: Callable[[Tensor], Tensor] = attention.to_v
        self._to_out: Sequence[Callable[[Tensor], Tensor]] = attention.to_out
        self._num_heads: int = attention.heads
        self._joint: Projection | None = vars(attention).get(JOINT_PROJECTION)

    @property
    def is_fixed(self) -> bool:
        """Whether keys and values of the same tokens will be the same: no LoRA can be turned."""
        return all(type(to) is nn.Linear for to in (self.to_k, self.to_v))

    def to_qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the same tokens, (... n c) each."""
        if self._joint is None:
            return self.to_q(x), self.to_k(x), self.to_v(x)
        q, k, v = self._joint(x).chunk(3, dim=-1)
        return q, k, v

    def split(self, x: Tensor) -> Tensor:
        """(... n c) -> (... heads n d)."""
        return x.reshape(*x.shape[:-1], self._num_heads, -1).transpose(-2, -3)

    def output(self, x: Tensor) -> Tensor:
        """(... heads n d) -> (... n c), through the output projection and its dropout."""
        x = x.transpose(-2, -3).flatten(-2)
        for layer in self._to_out:
            x = layer(x)
        return x


class SelfAttentionProcessor:
    """Lets a function on tensors act as an attention processor of diffusers."""

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        assert encoder_hidden_states is None
        assert attention_mask is None
        return self._attend(ProjectedAttention(attn), hidden_states)


def replace_attention(attention: nn.Module, attend: Attend, undo: ExitStack) -> None:
    """Let `attend` compute what `attention` does, from its projections and its input (n l c)."""
    shadow(attention, "processor", SelfAttentionProcessor(attend), undo)


def silence_positions(pos_embed: nn.Module, undo: ExitStack) -> None:
    """Let a table of positions add nothing: whoever attends adds them, at any number of frames."""

    def unchanged(hidden_states: Tensor) -> Tensor:
        return hidden_states

    shadow(pos_embed, "forward", unchanged, undo)


class MotionBypass(Adapter):
    """Skips all motion modules: the network acts on each frame as the image model does."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(motion_modules(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        def unchanged(hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
            return hidden_states

        for module in motion_modules(model).values():
            shadow(module, "forward", unchanged, undo)


class ReferenceRows(Adapter):
    """Leads the reference rows past all motion modules, which see the frames alone."""

    def __init__(self, context: FrameContext) -> None:
        self._context = context

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(motion_modules(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for module in motion_modules(model).values():
            shadow(module, "forward", FramesOnly(self._context, module.forward), undo)


class FramesOnly:
    """The forward of a motion module that is given reference rows and frames."""

    def __init__(self, context: FrameContext, forward: Callable[..., Tensor]) -> None:
        self._context, self._forward = context, forward

    def __call__(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        # Blocks call with num_frames by name, the mid block with five positional arguments,
        # all None but num_frames; it is known here anyway.
        rows = self._context.unfold(hidden_states)
        reference, frames = rows.tensor_split((self._context.num_reference_rows,), dim=1)
        moved = self._forward(frames.flatten(0, 1), num_frames=self._context.num_frames)
        return torch.cat([reference, moved.view_as(frames)], dim=1).flatten(0, 1)


class PerFrameNorm(Adapter):
    """Normalises each frame by itself in the motion modules, as AnimateDiff was trained."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(f"{name}.norm" for name in motion_modules(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            norm = model.get_submodule(name)
            shadow(norm, "forward", EachFrame(norm.forward), undo)


class EachFrame:
    """The forward of a motion module's norm that normalises each frame by itself."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward

    def __call__(self, x: Tensor) -> Tensor:
        """(b c f h w) -> (b c f h w)."""
        folded = x.transpose(1, 2).flatten(0, 1)  # (b f) c h w
        return self._forward(folded).view_as(x.transpose(1, 2)).transpose(1, 2)
