"""Scaled dot-product attention of any number of rows, on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAX_ROWS = 65_535
"""CUDA launches its fused kernels with one block in an axis of the grid for each row of the batch,
and that axis has no more (pytorch issue 142228)."""


def attention(q: Tensor, k: Tensor, v: Tensor, *, max_rows: int = MAX_ROWS) -> Tensor:
    """softmax(q kᵀ/√d) v: `q` (b heads n d), `k` and `v` (b heads m d) -> (b heads n d).

    Batches of more than `max_rows` are computed in parts, exactly, since rows do not meet.
    """
    if q.ndim != 4 or q.shape[0] <= max_rows:
        return functional.scaled_dot_product_attention(q, k, v)
    parts = zip(*(x.split(max_rows) for x in (q, k, v)), strict=True)
    return torch.cat([functional.scaled_dot_product_attention(*part) for part in parts])
