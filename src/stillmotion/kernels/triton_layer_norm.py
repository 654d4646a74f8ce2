"""The kernel of `norms.add_layer_norm`: reads both terms once, writes the sum and its norm once."""

# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call"
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_ELEMENTS = 2048  # of one program


@triton.jit
def add_layer_norm_kernel(
    x, residual, weight, bias, total, normed,
    rows, inner, channels, eps,
    x_outer, x_inner, x_channel, residual_outer, residual_inner, residual_channel,
    weight_stride, bias_stride,
    BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """(rows / inner, inner, channels), of any strides -> two of (rows channels), contiguous."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    channel = tl.arange(0, BLOCK_C)[None, :].to(tl.int64)
    inside = (row < rows) & (channel < channels)
    o, i = row // inner, row % inner
    x_at = x + o * x_outer + i * x_inner + channel * x_channel
    residual_at = residual + o * residual_outer + i * residual_inner + channel * residual_channel
    a = tl.load(x_at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(residual_at, mask=inside, other=0.0).to(tl.float32)
    rounded = (a + b).to(total.dtype.element_ty)
    out_at = row * channels + channel
    tl.store(total + out_at, rounded, mask=inside)
    t = rounded.to(tl.float32)
    mean = tl.sum(t, axis=1)[:, None] / channels
    centred = tl.where(inside, t - mean, 0.0)
    variance = tl.sum(centred * centred, axis=1)[:, None] / channels
    used = channel < channels
    w = tl.load(weight + channel * weight_stride, mask=used, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel * bias_stride, mask=used, other=0.0).to(tl.float32)
    y = centred * tl.rsqrt(variance + eps) * w + shift
    tl.store(normed + out_at, y.to(normed.dtype.element_ty), mask=inside)


def launch_add_layer_norm(
    x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """`add_layer_norm` of `x` and `residual` (a m c), any strides -> both (a m c), contiguous."""
    outer, inner, channels = x.shape
    total, normed = x.new_empty(x.shape), x.new_empty(x.shape)
    block_c = triton.next_power_of_2(channels)
    block_m = max(1, _ELEMENTS // block_c)
    programs = triton.cdiv(outer * inner, block_m)
    if programs and channels:
        with torch.cuda.device_of(x):
            add_layer_norm_kernel[(programs,)](
                x, residual, weight, bias, total, normed,
                outer * inner, inner, channels, eps,
                *x.stride(), *residual.stride(), *weight.stride(), *bias.stride(),
                BLOCK_M=block_m, BLOCK_C=block_c, num_warps=4 if block_c <= 2048 else 8,
            )  # fmt: skip
    return total, normed
