"""ResNet blocks and the output of a U-Net without passes over memory that change nothing.

Against diffusers' `ResnetBlock2D`: no division by a scale of 1, SiLU within the norms before it,
the time embedding added within the second norm and projected once instead of for every row.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.lean_layers import (
    Forward,
    LeanForward,
    drops_nothing,
    group_norm,
    is_bare,
    is_untouched,
)
from stillmotion.kernels.norms import group_norm_silu


class LeanResnets(Adapter):
    """Lean forwards of all ordinary ResNet blocks, and of the norm and SiLU before the output.

    All rows of a batch must have the same time embedding, as they have if they are denoised
    together.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        blocks = tuple(name for name, m in model.named_modules() if is_ordinary_resnet(m))
        return (*blocks, "conv_norm_out") if _has_ordinary_output(model) else blocks

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            block: Any = model.get_submodule(name)
            if name != "conv_norm_out":
                shadow(block, "forward", LeanForward(_resnet_or_stock, block, block.forward), undo)
                continue
            unet: Any = model
            shadow(block, "forward", LeanForward(_norm_and_silu, block, block.forward), undo)
            shadow(unet.conv_act, "forward", _unchanged, undo)


def is_ordinary_resnet(block: Any) -> bool:
    """Whether `lean_resnet` says all that a module does."""
    return (
        type(block) is ResnetBlock2D
        and block.time_embedding_norm == "default"
        and block.time_emb_proj is not None
        and not block.skip_time_act
        and isinstance(block.nonlinearity, nn.SiLU)
        and block.upsample is None
        and block.downsample is None
        and block.output_scale_factor == 1
        and drops_nothing(block)
        and is_untouched(block)
    )


def lean_resnet(block: Any, x: Tensor, temb: Tensor) -> Tensor:
    """`x` (n c h w), `temb` (n e) with equal rows -> (n c' h w)."""
    add = block.time_emb_proj(block.nonlinearity(temb[:1]))
    middle = block.conv1(group_norm(block.norm1, x, silu=True))
    hidden: Tensor = block.conv2(group_norm(block.norm2, middle, add, silu=True))
    if block.conv_shortcut is not None:
        x = block.conv_shortcut(x)
    return hidden.add_(x)


def _resnet_or_stock(
    block: Any, stock: Forward, input_tensor: Tensor, temb: Tensor | None
) -> Tensor:
    if torch.is_grad_enabled() or temb is None:
        return stock(input_tensor, temb)  # type: ignore[no-any-return]
    return lean_resnet(block, input_tensor, temb)


def _has_ordinary_output(model: Any) -> bool:
    norm, act = getattr(model, "conv_norm_out", None), getattr(model, "conv_act", None)
    return (
        type(norm) is nn.GroupNorm and is_bare(norm) and isinstance(act, nn.SiLU) and is_bare(act)
    )


def _norm_and_silu(norm: Any, stock: Forward, x: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return functional.silu(stock(x))
    return group_norm_silu(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def _unchanged(x: Tensor) -> Tensor:
    return x
