"""Equations 1 to 3 against loops in double precision."""

from __future__ import annotations

import math

import torch

from stillmotion.animatezero.attention import global_attention, project


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_project_adds_the_position_first() -> None:
    z, p, weight = random(2, 5, 3), random(5, 3, seed=1), random(4, 3, seed=2)
    projected = project(z, p, lambda x: x @ weight.T)
    for n in range(2):
        for i in range(5):
            assert torch.allclose(projected[n, i], weight @ (z[n, i] + p[i]), atol=1e-14)


def test_global_attention_is_its_double_loop() -> None:
    q, k, v = random(3, 2, 5, 4), random(3, 2, 6, 4, seed=1), random(3, 2, 6, 4, seed=2)
    out = global_attention(q, k, v)
    for index in torch.cartesian_prod(*map(torch.arange, (3, 2, 5))):
        n, h, i = index.tolist()
        weights = [math.exp(float(q[n, h, i] @ k[n, h, j]) / math.sqrt(4)) for j in range(6)]
        expected = sum(w * v[n, h, j] for j, w in enumerate(weights)) / sum(weights)
        assert torch.allclose(out[n, h, i], expected, atol=1e-13)
