"""GEGLU, the activation in the feed-forward layers of every transformer of the U-Net."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stillmotion.kernels.choice import is_fused


def geglu(x: Tensor) -> Tensor:
    """x_1 · GELU(x_2), where x_1 and x_2 are the halves of the channels: (... 2n) -> (... n).

    Source: Shazeer, GLU Variants Improve Transformer (arXiv:2002.05202), without the projection
    that makes `x`; GELU is the exact one, x Φ(x), as in diffusers' `GEGLU`.  Raises ValueError for
    an odd number of channels.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"geglu halves the channels; {x.shape[-1]} is an odd number.")
    if not is_fused(x):
        return geglu_reference(x)
    rows: Tensor = geglu_operator(x.reshape(-1, x.shape[-1]))
    return rows.view(*x.shape[:-1], -1)


def geglu_reference(x: Tensor) -> Tensor:
    """The plain form of `geglu`."""
    values, gates = x.chunk(2, dim=-1)
    return values * functional.gelu(gates)


@torch.library.custom_op("stillmotion::geglu", mutates_args=())
def geglu_operator(x: Tensor) -> Tensor:
    """`geglu` of rows: (m 2n), any strides -> (m n), contiguous."""
    return geglu_reference(x).contiguous()


@geglu_operator.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1] // 2)


@geglu_operator.register_kernel("cuda")
def _(x: Tensor) -> Tensor:
    from stillmotion.kernels.triton_pointwise import launch_geglu

    return launch_geglu(x)
