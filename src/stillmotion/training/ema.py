"""Exponential moving average of trained weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows parameters with `decay`, faster at the beginning: min(decay, (1 + n) / (10 + n))."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._live = list(parameters)
        self._decay = decay
        self.updates = 0
        self.average: list[Tensor] = [p.detach().clone() for p in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Take one optimiser step into the average."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.average, [p.detach() for p in self._live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and live weights; twice is a no-op."""
        for average, live in zip(self.average, self._live, strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)
