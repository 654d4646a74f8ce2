"""The exact savings of `lean_savings.py` for diffusers' UNet3DConditionModel.

Its spatial layers are those of the image model, so their adapters serve here too.  Its own are
temporal convolutions, temporal transformers and a longer trunk.

Shapes: b clips, f frames, n = h w locations, c channels.  Pictures ((b f) c h w) that lie channels
last are (b f n c) in memory, of which every form below is a view.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.diffusers_sites import ProjectedAttention, is_plain_attention
from stillmotion.adapters.lean_frames import frames_output, split_frames
from stillmotion.adapters.lean_layers import (
    ChannelsLast,
    Forward,
    FusedGEGLU,
    LeanForward,
    add_norm,
    drops_nothing,
    group_norm,
    has_no_listeners,
    image_of,
    is_bare,
    is_bare_or_lean,
    is_untouched,
)
from stillmotion.adapters.lean_projections import JointProjections
from stillmotion.adapters.lean_resnet import LeanResnets
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_transformer import (
    LeanTransformers,
    feed_forward,
    is_layer_norm_block,
)
from stillmotion.adapters.lean_trunk import SharedTrunk
from stillmotion.kernels.attention import attention
from stillmotion.kernels.choice import is_fused
from stillmotion.kernels.temporal import temporal_attention

_TRANSFORMER_IN, _TEMP_CONV = "transformer_in", "down_blocks.0.temp_convs.0"


def unet3d_adapters(savings: Savings, num_frames: int) -> list[Adapter]:
    """To be put on a UNet3DConditionModel last, behind what controls it.

    It must be called with clips of `num_frames` frames that are copies of one clip at one time,
    such as the branches of guidance: they may differ in what attn2 of the spatial transformers
    reads, and in nothing else.  `savings.text` is for whoever owns these attentions.
    """
    made: list[Adapter] = []
    if savings.projections:
        made.append(JointProjections())
    if savings.motion:
        made.append(LeanTemporalTransformers())
    if savings.motion and savings.channels_last:
        made.append(LeanTemporalConvs())
    if savings.resnets:
        made.append(LeanResnets())
    if savings.feed_forward:
        made.append(FusedGEGLU())
    if savings.transformers:
        made.append(LeanTransformers())
    if savings.channels_last:
        made.append(ChannelsLast())
    if savings.trunk:
        made.append(SharedVideoTrunk(num_frames))
    return made


class LeanTemporalConvs(Adapter):
    """Lean forwards of all ordinary temporal convolutions, for pictures that lie channels last.

    A convolution by (3 1 1) over (f h w) is one by (3 1) over (f n), which reads tokens where they
    lie.  The weights are laid out channels last for as long, as `ChannelsLast` does with others.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        if not is_bare(model):
            return ()
        layers = [(n, m) for n, m in model.named_modules() if is_ordinary_temporal_conv(m)]
        return tuple(name for name, layer in layers if _keeps_order(layer))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            layer: Any = model.get_submodule(name)
            for weight in [conv.weight for _, conv in _steps(layer) if is_bare(conv)]:
                if not weight.is_contiguous(memory_format=torch.channels_last_3d):
                    undo.callback(_lay_out, weight, torch.contiguous_format)
                    _lay_out(weight, torch.channels_last_3d)
            lean = LeanForward(_temporal_conv_or_stock, layer, layer.forward)
            shadow(layer, "forward", lean, undo)


def is_ordinary_temporal_conv(layer: Any) -> bool:
    """Whether `lean_temporal_conv` says all that a module does."""
    return (
        type(layer) is TemporalConvLayer
        and is_untouched(layer)
        and drops_nothing(layer)
        and all(_is_over_frames(conv) for _, conv in _steps(layer))
    )


def _steps(layer: Any) -> list[tuple[Any, Any]]:
    """Norm and convolution of each step; between them are SiLU and dropout."""
    steps = (layer.conv1, layer.conv2, layer.conv3, layer.conv4)
    return [(step[0], step[-1]) for step in steps]


def _is_over_frames(conv: Any) -> bool:
    """Whether a convolution is by (3 1 1) and keeps the number of frames."""
    return (
        type(conv) is nn.Conv3d
        and conv.kernel_size == (3, 1, 1)
        and conv.padding == (1, 0, 0)
        and conv.stride == conv.dilation == (1, 1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


def _keeps_order(layer: Any) -> bool:
    weight = layer.conv1[-1].weight.data
    return weight.device.type == "cpu" or is_fused(weight)


def _lay_out(weight: nn.Parameter, memory_format: torch.memory_format) -> None:
    weight.data = weight.data.contiguous(memory_format=memory_format)


def _temporal_conv_or_stock(
    layer: Any, stock: Forward, hidden_states: Tensor, num_frames: int = 1
) -> Tensor:
    is_last = hidden_states.is_contiguous(memory_format=torch.channels_last)
    if torch.is_grad_enabled() or not is_last:
        return stock(hidden_states, num_frames=num_frames)  # type: ignore[no-any-return]
    return lean_temporal_conv(layer, hidden_states, num_frames)


def lean_temporal_conv(layer: Any, x: Tensor, num_frames: int) -> Tensor:
    """`x` ((b f) c h w), channels last -> the same."""
    height, width = x.shape[-2:]
    clips = x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, num_frames))  # b f n c
    made = clips.permute(0, 3, 1, 2)
    for norm, conv in _steps(layer):
        made = _over_frames(conv, group_norm(norm, made, silu=True), height)
    moved: Tensor = made.permute(0, 2, 3, 1).add_(clips)
    return _pictures(moved, height, width)


def _over_frames(conv: Any, x: Tensor, height: int) -> Tensor:
    """A convolution over frames of (b c f n)."""
    if type(conv) is nn.Conv3d and is_bare(conv):
        return functional.conv2d(x, conv.weight.squeeze(-1), conv.bias, padding=(1, 0))
    made: Tensor = conv(x.unflatten(-1, (height, -1)))
    return made.flatten(-2)


def _pictures(frames: Tensor, height: int, width: int) -> Tensor:
    """(b f n c) -> ((b f) c h w)."""
    return image_of(frames.flatten(0, 1), height, width)


class LeanTemporalTransformers(Adapter):
    """Lean forwards of all ordinary temporal transformers, as `lean_motion.py` has them.

    Plain attention wants the frames of a location side by side, and gets one copy in each
    direction; the fused kernel needs none.  Put it on after `JointProjections`.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(n for n, m in model.named_modules() if is_ordinary_temporal_transformer(m))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            module: Any = model.get_submodule(name)
            lean = LeanForward(_temporal_transformer_or_stock, module, module.forward)
            shadow(module, "forward", lean, undo)


def is_ordinary_temporal_transformer(module: Any) -> bool:
    """Whether `lean_temporal_transformer` says all that a module does."""
    return (
        type(module) is TransformerTemporalModel
        and type(module.norm) is nn.GroupNorm
        and is_untouched(module)
        and drops_nothing(module)
        and all(_is_ordinary_block(block) for block in module.transformer_blocks)
    )


def _is_ordinary_block(block: Any) -> bool:
    return (
        is_layer_norm_block(block)
        and block.pos_embed is None
        and is_bare_or_lean(block)
        and all(
            type(attn.processor) is AttnProcessor2_0
            and is_plain_attention(attn)
            and not attn.is_cross_attention
            for attn in (block.attn1, block.attn2)
        )
    )


def _temporal_transformer_or_stock(
    module: Any,
    stock: Forward,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None = None,
    num_frames: int = 1,
    return_dict: bool = True,
    **others: Any,
) -> Any:
    # `cross_attention_kwargs` may be among the others: plain attentions have no use for any.
    if torch.is_grad_enabled() or return_dict or encoder_hidden_states is not None:
        return stock(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            num_frames=num_frames,
            return_dict=return_dict,
            **others,
        )
    return (lean_temporal_transformer(module, hidden_states, num_frames),)


def lean_temporal_transformer(module: Any, x: Tensor, num_frames: int) -> Tensor:
    """`x` ((b f) c h w) -> the same."""
    height, width = x.shape[-2:]
    frames = x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, (-1, num_frames))  # b f n c
    tokens = group_norm(module.norm, frames.permute(0, 3, 1, 2), silu=False).permute(0, 2, 3, 1)
    apart = not is_fused(x)
    if apart:
        tokens = tokens.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # (b n) f 1 c
    tokens = module.proj_in(tokens)
    for block in module.transformer_blocks:
        tokens = _lean_block(block, tokens)
    moved = module.proj_out(tokens)
    if apart:
        moved = moved.squeeze(2).unflatten(0, (-1, height * width)).transpose(1, 2)
    total: Tensor = frames + moved if apart else moved.add_(frames)
    return _pictures(total, height, width)


def _lean_block(block: Any, x: Tensor) -> Tensor:
    """(b f n c) -> (b f n c)."""
    x, normed = add_norm(block.norm2, _attend(block.attn1, block.norm1(x)), x)
    x, normed = add_norm(block.norm3, _attend(block.attn2, normed), x)
    return feed_forward(block, normed, x)


def _attend(attn: Any, x: Tensor) -> Tensor:
    """Self-attention over frames, (b f n c) -> (b f n c)."""
    layer = ProjectedAttention(attn)
    q, k, v = (split_frames(layer, part) for part in layer.to_qkv(x))
    made = attention(q, k, v) if q.ndim == 4 else temporal_attention(q, k, v)
    return frames_output(layer, made)


class SharedVideoTrunk(SharedTrunk):
    """`SharedTrunk` with the temporal layers of this network's: one at the input, one within."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        sites = super().sites(model)
        parts = dict(model.named_modules())
        if not sites or any(name not in parts for name in (_TRANSFORMER_IN, _TEMP_CONV)):
            return ()
        own = [parts[_TRANSFORMER_IN], parts[_TEMP_CONV]]
        is_free = all(is_bare_or_lean(part) and has_no_listeners(part) for part in own)
        return (*sites, _TRANSFORMER_IN) if is_free else ()

    def forwards(self) -> dict[str, Forward]:
        return super().forwards() | {_TRANSFORMER_IN: self._transformer_in}

    def _transformer_in(
        self, _: Any, forward: Forward, hidden_states: Tensor, **options: Any
    ) -> tuple[Tensor]:
        copies = self._copies(len(hidden_states))
        if copies == 1:
            made: tuple[Tensor] = forward(hidden_states, **options)
            return made
        assert not options.get("return_dict", True)
        (one,) = forward(hidden_states[: self._num_rows], **options)
        return (torch.cat([one] * copies),)
