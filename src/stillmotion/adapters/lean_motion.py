"""Motion modules without passes over memory that change nothing.

Against diffusers' `AnimateDiffTransformer3D`: tokens stay where they lie as pictures, and only the
attention itself reads them frame by frame; positions come in as projected parts of queries, keys
and values; each residual sum is within the norm that follows it.  Reference rows are passed by in
place, and never copied.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, shadow
from stillmotion.adapters.diffusers_sites import (
    EachFrame,
    FramesOnly,
    ProjectedAttention,
    motion_modules,
)
from stillmotion.adapters.lean_frames import FrameAttentionProcessor
from stillmotion.adapters.lean_layers import (
    Forward,
    LeanForward,
    add_norm,
    drops_nothing,
    has_no_listeners,
    is_bare,
)
from stillmotion.adapters.lean_transformer import feed_forward, is_layer_norm_block
from stillmotion.kernels.choice import is_fused
from stillmotion.kernels.norms import group_norm_silu


class LeanMotion(Adapter):
    """Lean forwards of all ordinary motion modules, for the frames of `context` alone.

    Put it on after the adapters that give every attention over frames its
    `FrameAttentionProcessor`; modules where one lacks it stay as they are.  What `PerFrameNorm`
    and `ReferenceRows` did to a module is done within its lean forward.
    """

    def __init__(self, context: FrameContext) -> None:
        self._context = context

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, m in motion_modules(model).items() if is_ordinary_motion(m))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            module: Any = model.get_submodule(name)
            shadow(
                module, "forward", LeanForward(self._lean_or_stock, module, module.forward), undo
            )

    def _lean_or_stock(
        self, module: Any, stock: Forward, hidden_states: Tensor, *_: object, **__: object
    ) -> Tensor:
        # diffusers' blocks say the number of frames by name or by position, and nothing else.
        if torch.is_grad_enabled():
            moved: Tensor = stock(hidden_states, num_frames=self._context.num_frames)
            return moved
        return self._lean(module, hidden_states)

    def _lean(self, module: Any, x: Tensor) -> Tensor:
        """`x` ((b rows) c h w) -> the same; if there are reference rows, it is `x` itself."""
        rows = x.permute(0, 2, 3, 1).unflatten(0, (-1, self._context.num_rows))  # b rows h w c
        frames = rows[:, self._context.num_reference_rows :]
        tokens = _normed(module.norm, frames)  # b f n c
        locations = tokens.shape[2]
        apart = not is_fused(x)
        if apart:  # plain attention wants the frames of a location side by side
            tokens = tokens.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # (b n) f 1 c
        tokens = module.proj_in(tokens)
        for block in module.transformer_blocks:
            tokens = _lean_block(block, tokens)
        moved = module.proj_out(tokens)
        if apart:
            moved = moved.squeeze(2).unflatten(0, (-1, locations)).transpose(1, 2)
        moved = moved.unflatten(2, frames.shape[2:4])
        if self._context.num_reference_rows:
            frames.add_(moved)
            return x
        total: Tensor = frames + moved if apart else moved.add_(frames)
        return total.flatten(0, 1).permute(0, 3, 1, 2)


def _normed(norm: Any, frames: Tensor) -> Tensor:
    """A motion module's GroupNorm, each frame by itself or all together: (b f h w c) -> b f n c."""
    per_frame = isinstance(vars(norm).get("forward"), EachFrame)
    if per_frame:
        pictures = frames.flatten(0, 1).flatten(1, 2).transpose(1, 2)  # (b f) c n
    else:
        pictures = frames.flatten(1, 3).transpose(1, 2)  # b c (f n)
    normed = group_norm_silu(
        pictures, norm.num_groups, norm.weight, norm.bias, norm.eps, silu=False
    )
    tokens = normed.transpose(1, 2)  # (b f) n c, or b (f n) c
    return tokens.reshape(*frames.shape[:2], -1, tokens.shape[-1])


def is_ordinary_motion(module: Any) -> bool:
    """Whether `LeanMotion` says all that a module does."""
    return (
        type(module) is AnimateDiffTransformer3D
        and type(module.norm) is nn.GroupNorm
        and _is_bare_or(EachFrame, module.norm)
        and _is_bare_or(FramesOnly, module)
        and drops_nothing(module)
        and has_no_listeners(module)
        and all(_is_ordinary_block(block) for block in module.transformer_blocks)
    )


def _is_bare_or(known: type, module: nn.Module) -> bool:
    """Whether a module has its own forward, or one of ours that is understood here."""
    return isinstance(vars(module).get("forward"), known) or is_bare(module)


def _is_ordinary_block(block: Any) -> bool:
    if not is_layer_norm_block(block):
        return False
    attentions = (block.attn1, block.attn2)
    return all(isinstance(attn.processor, FrameAttentionProcessor) for attn in attentions)


def _lean_block(block: Any, x: Tensor) -> Tensor:
    """(b f n c) -> (b f n c)."""
    x, normed = add_norm(block.norm2, _attend(block.attn1, block.norm1(x)), x)
    x, normed = add_norm(block.norm3, _attend(block.attn2, normed), x)
    return feed_forward(block, normed, x)


def _attend(attention: Any, x: Tensor) -> Tensor:
    """What the processor makes of (b f n c)."""
    attend: Tensor = attention.processor.attend(ProjectedAttention(attention), x)
    return attend
