"""Attention of more rows than a launch of CUDA's fused kernels takes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stillmotion.kernels import temporal
from stillmotion.kernels.attention import MAX_ROWS, attention
from stillmotion.kernels.temporal import temporal_attention


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every launch from now on."""
    rows: list[int] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def launch(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows.append(len(q))
        return plain(q, k, v)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", launch)
    return rows


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_parts_are_the_whole(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (random(7, 2, n, 4, seed=n) for n in (5, 6, 6))
    whole = attention(q, k, v)
    rows = seen(monkeypatch)
    assert (attention(q, k, v, max_rows=limit) - whole).abs().max() < 1e-14
    assert max(rows) <= limit
    assert sum(rows) == 7


def test_the_limit_is_that_of_a_grid() -> None:
    assert MAX_ROWS == 2**16 - 1


def test_attention_over_frames_of_many_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    q = random(9, 2, 3, 4)
    whole = temporal_attention(q, q, q)
    monkeypatch.setattr(temporal, "attention", lambda *x: attention(*x, max_rows=4))
    rows = seen(monkeypatch)
    assert (temporal_attention(q, q, q) - whole).abs().max() < 1e-14
    assert rows == [4, 4, 1]
