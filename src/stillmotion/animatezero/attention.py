"""Attention as in AnimateDiff (section 3.2 of the paper), on which the control is built.

Shapes: `...` are batch and heads, n or f tokens, c channels, d channels of one head.  The paper
writes tokens as columns, here they are rows.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Projection = Callable[[Tensor], Tensor]


def project(z: Tensor, positions: Tensor, projection: Projection) -> Tensor:
    """q, k or v of tokens with positions: W (z_i + p_j).

    Equation: AnimateZero Eq. 1

    `z` (... f c) and `positions` (f c) or (c); the paper's case j = i is the plain table, one row
    for each token.  Call it with W_q, W_k and W_v in turn.
    """
    return projection(z + positions)


def global_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every query against every key: ẑ_i = V softmax(q_i K / √d).

    Equation: AnimateZero Eq. 2
    Equation: AnimateZero Eq. 3

    (Eq. 3 is row i of Eq. 2.)  `q` (... n d), `k` and `v` (... m d) -> (... n d).  The paper's c
    under the root is the number of channels of one head.
    """
    return functional.scaled_dot_product_attention(q, k, v)
