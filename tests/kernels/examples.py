"""Inputs for the kernels, and how far a result may be from the exact one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from stillmotion.kernels.temporal import temporal_attention_reference

# Of the largest number of the exact result: float32 sums in another order; of 16 bits, one rounding
# of the result, and in attention one of the weights and one of queries with positions.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2.5e-2}


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that `dtype` holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_near(result: Tensor, exact: Tensor) -> None:
    """The result, of its dtype, is within the tolerance of the exact one."""
    assert result.shape == exact.shape
    assert result.isfinite().all()
    worst = (result.double() - exact).abs().max()
    bound = TOLERANCE[result.dtype] * exact.abs().max().clamp(min=1)
    assert worst <= bound, f"{worst:.3g} > {bound:.3g}"


class Attention(NamedTuple):
    """Arguments of `temporal_attention`, in its order."""

    q: Tensor
    k: Tensor
    v: Tensor
    src: Tensor | None
    key_positions: Tensor | None
    value_positions: Tensor | None
    query_positions: Tensor | None
    weights: Tensor | None

    def exact(self) -> Tensor:
        """The plain form in float64."""
        doubled = (x.double() if x is not None and x.is_floating_point() else x for x in self)
        return temporal_attention_reference(*doubled)

    def literal(self) -> Tensor:
        """The formula, slot by slot in a loop, for tensors with one axis of locations."""
        q, k, v, src, key_p, value_p, query_p, weights = self
        _, heads, rows, d = q.shape
        if src is None:
            src = torch.arange(k.shape[-2]).expand(rows, -1)
        if src.ndim == 2:
            src = src[None]
            query_p = None if query_p is None else query_p[None]
            weights = None if weights is None else weights[None]
        out = torch.zeros_like(q)
        for view, head, i in torch.cartesian_prod(*map(torch.arange, (len(src), heads, rows))):
            query = q[:, head, i] if query_p is None else q[:, head, i] + query_p[view, head, i]
            scores, values = [], []
            for slot, token in enumerate(src[view, i]):
                key, value = k[:, head, token], v[:, head, token]
                key = key if key_p is None else key + key_p[head, slot]
                values.append(value if value_p is None else value + value_p[head, slot])
                scores.append((query * key).sum(-1) / math.sqrt(d))
            p = torch.stack(scores, -1).softmax(-1)
            part = (p.unsqueeze(-1) * torch.stack(values, 1)).sum(1)
            out[:, head, i] += part if weights is None else weights[view, i] * part
        return out


def clip_views(
    b: int, f: int, n: int, heads: int, d: int, dtype: torch.dtype, *, skip: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v (b n heads f d) as views of fused projections (b skip+f n 3·heads·d), without the
    first `skip` rows: no axis is where it would be in memory of its own."""
    buffer = draw(b, skip + f, n, 3 * heads * d, dtype=dtype)[:, skip:]
    q, k, v = (x.unflatten(-1, (heads, d)).permute(0, 2, 3, 1, 4) for x in buffer.chunk(3, -1))
    return q, k, v


def random_map(rows: int, frames: int, length: int, views: int = 1, seed: int = 5) -> Tensor:
    """(v r l): any frame in any slot."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(frames, (views, rows, length), generator=generator)
