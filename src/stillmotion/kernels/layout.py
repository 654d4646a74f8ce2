"""Shapes and memory orders that the operators and their kernels share."""

from __future__ import annotations

import torch
from torch import Tensor


def empty_in_order_of(x: Tensor) -> Tensor:
    """An uninitialised tensor like `x` without gaps, its axes in memory in the order of `x`'s.

    `torch.empty_like` does so only for an `x` without gaps; a slice of fused projections has some.
    """
    order = sorted(range(x.ndim), key=x.stride, reverse=True)
    return torch.empty_permuted(x.shape, order, dtype=x.dtype, device=x.device)


def in_order_of(x: Tensor, result: Tensor) -> Tensor:
    """`result`, of the shape of `x`, in the memory order of `x`, copied if it is in another."""
    wanted = sorted(range(x.ndim), key=x.stride, reverse=True)
    if result.permute(wanted).is_contiguous():
        return result
    return torch.empty_permuted(
        result.shape, wanted, dtype=result.dtype, device=result.device
    ).copy_(result)


def expect_shape(name: str, tensor: Tensor, shape: tuple[int, ...], layout: str) -> None:
    """Raises ValueError unless a tensor has a shape, which `layout` puts in words."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; {layout} is {shape} here.")
