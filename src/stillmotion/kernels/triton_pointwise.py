"""The kernel of `pointwise.geglu`: reads both halves once, writes the result once."""

# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call"
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK_M, _BLOCK_N = 4, 256


@triton.jit
def geglu_kernel(
    x, out, rows, columns, x_row, x_column, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):
    """`x` (rows 2·columns) -> `out` (rows columns), contiguous; one program for each tile."""
    tiles = tl.cdiv(columns, BLOCK_N)
    program = tl.program_id(0)
    row = (program // tiles).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    column = (program % tiles).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = (row < rows) & (column < columns)
    at = x + row * x_row + column * x_column
    value = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    gate_at = x + row * x_row + (column + columns) * x_column
    gate = tl.load(gate_at, mask=inside, other=0.0).to(tl.float32)
    gelu = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * columns + column, (value * gelu).to(out.dtype.element_ty), mask=inside)


def launch_geglu(x: Tensor) -> Tensor:
    """`geglu` of `x` (m 2n), any strides -> (m n), contiguous."""
    rows, columns = x.shape[0], x.shape[1] // 2
    out = x.new_empty(rows, columns)
    programs = triton.cdiv(rows, _BLOCK_M) * triton.cdiv(columns, _BLOCK_N)
    if programs:
        with torch.cuda.device_of(x):
            geglu_kernel[(programs,)](
                x, out, rows, columns, *x.stride(), BLOCK_M=_BLOCK_M, BLOCK_N=_BLOCK_N
            )
    return out
