"""The smallest stage that can learn: a network of 41 weights follows a fixed linear function.

Run as a program it trains slowly and saves after every step, to be killed at any moment.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stillmotion.training.loop import LoopSettings, train

KILLED_STEPS = 300


class Regression:
    """The stage; `before` is called with the number of losses computed so far, before each."""

    name = "regression"

    def __init__(self, hidden: int = 8, before: Any = None, poison: Any = None) -> None:
        generator = torch.Generator().manual_seed(1)
        shapes = ((hidden, 4), (hidden,), (1, hidden))
        self.weights = [
            nn.Parameter(0.5 * torch.randn(shape, generator=generator)) for shape in shapes
        ]
        self.before, self.poison = before, poison
        self.computed = 0
        self.losses: list[float] = []

    def parameters(self) -> list[nn.Parameter]:
        return self.weights

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        if self.before is not None:
            self.before(self.computed)
        self.computed += 1
        inputs = torch.randn(16, 4, generator=generator).to(self.parameters()[0].device)
        target = inputs @ inputs.new_tensor([[1.0], [-2.0], [0.5], [0.0]])
        loss = (self.predicted(inputs) - target).square().mean()
        if self.poison is not None and self.computed > self.poison:
            loss = loss * float("nan")
        self.losses.append(loss.item())
        return {"loss": loss}

    def predicted(self, inputs: Tensor) -> Tensor:
        first, bias, second = self.weights
        return torch.tanh(inputs @ first.T + bias) @ second.T

    def copies(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.weights]


class NetworkRegression(Regression):
    """The same in modules, which can be shared out and computed a second time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        first, bias, second = self.weights
        self.network = nn.Sequential(
            nn.Linear(4, len(bias)), nn.Tanh(), nn.Linear(len(bias), 1, bias=False)
        )
        with torch.no_grad():
            for live, value in zip(self.parameters(), (first, bias, second), strict=True):
                live.copy_(value)
        self.recomputing, self.hidden_layers = False, 0
        self.network[0].register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.hidden_layers += 1

    def parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    def enable_gradient_checkpointing(self) -> None:
        self.recomputing = True

    def sharded_modules(self) -> list[nn.Module]:
        return [self.network[0], self.network]

    def predicted(self, inputs: Tensor) -> Tensor:
        if self.recomputing:
            return checkpoint(self.network, inputs, use_reentrant=False)
        return self.network(inputs)

    def copies(self) -> list[Tensor]:
        return [weight.detach().clone() for weight in self.parameters()]


def settings(**changes: Any) -> LoopSettings:
    """Settings of a short run."""
    values: dict[str, Any] = {"max_steps": 40, "warmup_steps": 5, "learning_rate": 0.02}
    return LoopSettings(**{**values, "bfloat16": False, "ema_decay": 0.9, **changes})


if __name__ == "__main__":
    limits = settings(max_steps=KILLED_STEPS, checkpoint_seconds=0.0)
    train(Regression(before=lambda _: time.sleep(0.01)), limits, Path(sys.argv[1]))
