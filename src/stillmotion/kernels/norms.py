"""GroupNorm with what stands around it in a ResNet block; LayerNorm with its residual sum.

Shapes: n pictures, c channels, s the axes of a picture (h w, or f h w) or their product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stillmotion.kernels.choice import are_fused
from stillmotion.kernels.layout import empty_in_order_of, expect_shape, in_order_of


def group_norm_silu(
    x: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    add: Tensor | None = None,
    silu: bool = True,
) -> Tensor:
    """SiLU(GroupNorm(x + add)), statistics in at least float32; without `silu`, the norm alone.

    `x` (n c *s) in any memory order, for example channels last, which the result keeps; `weight`
    and `bias` (c); `add` (n c) or (1 c), one number per picture and channel: the time embedding of
    a ResNet block.  -> (n c *s).
    """
    if not are_fused(x, tables=(weight, bias, add)):
        return group_norm_silu_reference(x, num_groups, weight, bias, eps, add, silu)
    flat: Tensor = group_norm_silu_operator(x.flatten(2), num_groups, weight, bias, eps, add, silu)
    return flat.view(x.shape)


def group_norm_silu_reference(
    x: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float = 1e-5,
    add: Tensor | None = None,
    silu: bool = True,
) -> Tensor:
    """The plain form of `group_norm_silu`: the operators of a ResNet block one by one."""
    total = x if add is None else x + add.view(*add.shape, *[1] * (x.ndim - 2))
    normed = functional.group_norm(total, num_groups, weight, bias, eps)
    # CUDA's GroupNorm returns channels first, whatever it is given.
    return in_order_of(x, functional.silu(normed) if silu else normed)


def add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """The sum x + residual and its LayerNorm, statistics in at least float32.

    `x` and `residual` (... c), `weight` and `bias` (c) -> both (... c).  The norm is that of the
    sum as it is returned, rounded to its dtype.
    """
    if not are_fused(x, residual, tables=(weight, bias)):
        return add_layer_norm_reference(x, residual, weight, bias, eps)
    expect_shape("The residual", residual, tuple(x.shape), "(... c)")
    total, normed = add_layer_norm_operator(_rows(x), _rows(residual), weight, bias, eps)
    return total.view(x.shape), normed.view(x.shape)


def add_layer_norm_reference(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """The plain form of `add_layer_norm`."""
    total = x + residual
    return total, functional.layer_norm(total, total.shape[-1:], weight, bias, eps)


def _rows(x: Tensor) -> Tensor:
    """(... c) as (a m c): a view also of some of the frames of a clip, of whose axes two remain."""
    lead = x.shape[0] if x.ndim > 2 else 1
    return x.reshape(lead, -1, x.shape[-1])


@torch.library.custom_op("stillmotion::group_norm_silu", mutates_args=())
def group_norm_silu_operator(
    x: Tensor,
    num_groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    add: Tensor | None,
    silu: bool,
) -> Tensor:
    """`group_norm_silu` of `x` (n c s), any strides -> (n c s) without gaps in the order of `x`."""
    plain = group_norm_silu_reference(x, num_groups, weight, bias, eps, add, silu)
    return empty_in_order_of(x).copy_(plain)


@group_norm_silu_operator.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return empty_in_order_of(x)


@group_norm_silu_operator.register_kernel("cuda")
def _(*arguments: Any) -> Tensor:
    from stillmotion.kernels.triton_group_norm import launch_group_norm_silu

    return launch_group_norm_silu(*arguments)


@torch.library.custom_op("stillmotion::add_layer_norm", mutates_args=())
def add_layer_norm_operator(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`add_layer_norm` of (a m c), any strides -> both (a m c), contiguous."""
    total, normed = add_layer_norm_reference(x, residual, weight, bias, eps)
    return total.contiguous(), normed.contiguous()


@add_layer_norm_operator.register_fake
def _(x: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape)


@add_layer_norm_operator.register_kernel("cuda")
def _(*arguments: Any) -> tuple[Tensor, Tensor]:
    from stillmotion.kernels.triton_layer_norm import launch_add_layer_norm

    return launch_add_layer_norm(*arguments)
