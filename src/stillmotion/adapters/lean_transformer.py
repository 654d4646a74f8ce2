"""Spatial transformers without passes over memory that change nothing.

Against diffusers' `Transformer2DModel` and `BasicTransformerBlock`: no copies between pictures and
tokens, each residual sum within the norm that follows it, no division by a scale of 1.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.diffusers_sites import (
    ProjectedAttention,
    is_plain_attention,
    replace_attention,
)
from stillmotion.adapters.lean_layers import (
    Forward,
    LeanForward,
    add_norm,
    drops_nothing,
    group_norm,
    has_no_listeners,
    image_of,
    in_order_of_channels,
    is_bare_or_lean,
    tokens_of,
)
from stillmotion.adapters.lean_text import TextProcessor
from stillmotion.kernels.attention import attention


class LeanTransformers(Adapter):
    """Lean forwards of all ordinary spatial transformers and their blocks.

    To be put on a network after whatever else changes its attentions: plain self-attentions that
    nobody changed become lean as well.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return (*_names(model, is_ordinary_block), *_names(model, is_ordinary_transformer))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in _names(model, is_ordinary_block):
            block: Any = model.get_submodule(name)
            if type(block.attn1.processor) is AttnProcessor2_0 and is_plain_attention(block.attn1):
                replace_attention(block.attn1, self_attention, undo)
            shadow(block, "forward", LeanForward(_block_or_stock, block, block.forward), undo)
        for name in _names(model, is_ordinary_transformer):
            module: Any = model.get_submodule(name)
            lean = LeanForward(_transformer_or_stock, module, module.forward)
            shadow(module, "forward", lean, undo)


def is_ordinary_block(block: Any) -> bool:
    """Whether `lean_block` says all that a module does, which is no motion module's block."""
    return (
        is_layer_norm_block(block)
        and block.pos_embed is None
        and has_no_listeners(block)
        and is_bare_or_lean(block)
    )


def is_layer_norm_block(block: Any) -> bool:
    """Whether a transformer block is two attentions and a feed-forward layer behind LayerNorms."""
    return (
        type(block) is BasicTransformerBlock
        and block.norm_type == "layer_norm"
        and block.attn2 is not None
        and not block.only_cross_attention
        and not hasattr(block, "fuser")
        and block._chunk_size is None
        and drops_nothing(block)
    )


def is_ordinary_transformer(module: Any) -> bool:
    """Whether `lean_transformer` says all that a module does."""
    return (
        type(module) is Transformer2DModel
        and module.is_input_continuous
        and type(module.norm) is nn.GroupNorm
        and drops_nothing(module)
        and has_no_listeners(module)
        and is_bare_or_lean(module)
    )


def self_attention(layer: ProjectedAttention, x: Tensor) -> Tensor:
    """Self-attention of the tokens (n l c) of each picture."""
    q, k, v = (layer.split(part) for part in layer.to_qkv(x))
    return layer.output(attention(q, k, v))


def lean_block(
    block: Any, x: Tensor, context: Any, options: dict[str, Any], *, copies: int = 1
) -> Tensor:
    """A transformer block: tokens (n l c) -> ((copies n) l c).

    `context` is what attn2 reads, for (copies n) rows; `options` go to both attentions.  Before
    attn2, which reads it, all copies are the same and are computed once.
    """
    # No names for what is not needed further on: it would take memory meanwhile.
    x, normed = add_norm(block.norm2, block.attn1(block.norm1(x), **options), x)
    if copies > 1:
        x = x.repeat(copies, 1, 1)
        if not isinstance(block.attn2.processor, TextProcessor):  # which needs no copies
            normed = normed.repeat(copies, 1, 1)
    x, normed = add_norm(
        block.norm3, block.attn2(normed, encoder_hidden_states=context, **options), x
    )
    return feed_forward(block, normed, x)


def feed_forward(block: Any, normed: Tensor, residual: Tensor) -> Tensor:
    """The feed-forward layer of a block and its residual sum, (... c).

    Rows are laid behind each other, so that whoever computes them in parts finds many.
    """
    rows: Tensor = block.ff(normed.flatten(0, -3))
    return rows.view(residual.shape).add_(residual)


def lean_transformer(
    module: Any, x: Tensor, context: Any, options: dict[str, Any], *, copies: int = 1
) -> Tensor:
    """A spatial transformer: `x` (n c h w) -> ((copies n) c h w); else as `lean_block`."""
    height, width = x.shape[-2:]
    normed = group_norm(module.norm, x, silu=False)
    if module.use_linear_projection:
        tokens = module.proj_in(tokens_of(normed))
    else:
        tokens = tokens_of(module.proj_in(normed))
    first, *others = module.transformer_blocks
    if copies > 1:
        tokens = lean_block(first, tokens, context, options, copies=copies)
    else:
        tokens = first(tokens, encoder_hidden_states=context, cross_attention_kwargs=options)
    for block in others:
        tokens = block(tokens, encoder_hidden_states=context, cross_attention_kwargs=options)
    if module.use_linear_projection:
        out = in_order_of_channels(image_of(module.proj_out(tokens), height, width), x)
    else:
        out = module.proj_out(in_order_of_channels(image_of(tokens, height, width), x))
    out.unflatten(0, (copies, -1)).add_(x)
    return out


def _block_or_stock(
    block: Any,
    stock: Forward,
    hidden_states: Tensor,
    encoder_hidden_states: Any = None,
    cross_attention_kwargs: dict[str, Any] | None = None,
    **others: Any,
) -> Tensor:
    if not _is_lean_call(cross_attention_kwargs, others):
        return stock(  # type: ignore[no-any-return]
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            cross_attention_kwargs=cross_attention_kwargs,
            **others,
        )
    return lean_block(block, hidden_states, encoder_hidden_states, cross_attention_kwargs or {})


def _transformer_or_stock(
    module: Any,
    stock: Forward,
    hidden_states: Tensor,
    encoder_hidden_states: Any = None,
    cross_attention_kwargs: dict[str, Any] | None = None,
    return_dict: bool = True,
    **others: Any,
) -> Any:
    if return_dict or not _is_lean_call(cross_attention_kwargs, others):
        return stock(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            cross_attention_kwargs=cross_attention_kwargs,
            return_dict=return_dict,
            **others,
        )
    options = cross_attention_kwargs or {}
    return (lean_transformer(module, hidden_states, encoder_hidden_states, options),)


def _is_lean_call(options: dict[str, Any] | None, others: dict[str, Any]) -> bool:
    """Whether it is an ordinary call: no masks, classes, GLIGEN or gradients."""
    return (
        all(value is None for value in others.values())
        and "gligen" not in (options or {})
        and not torch.is_grad_enabled()
    )


def _names(model: nn.Module, is_site: Any) -> tuple[str, ...]:
    return tuple(name for name, module in model.named_modules() if is_site(module))
