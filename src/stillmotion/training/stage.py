"""What a stage must offer to the loop, and what it may offer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


class Stage(Protocol):
    """What the loop trains."""

    name: str

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in a fixed order."""
        ...

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """One batch drawn with `generator`: scalars to log, of which "loss" is minimised.

        `progress` runs from 0 to 1 over the budget.  Several processes call it with generators of
        their own, and must return the same names.
        """
        ...


@runtime_checkable
class Recomputing(Protocol):
    """A stage that can compute activations a second time in place of keeping them."""

    def enable_gradient_checkpointing(self) -> None:
        """Do so from now on, without reentrant checkpoints: DDP cannot follow those."""
        ...


@runtime_checkable
class Shardable(Protocol):
    """A stage whose networks can be shared out over processes.

    Sharding replaces the parameters inside the modules: `parameters()` must look them up anew.
    """

    def sharded_modules(self) -> Sequence[nn.Module]:
        """The modules that are gathered one at a time, inner ones before those around them.

        Typically the blocks of a network, then the network.  Together they hold every trained
        parameter; the stage calls them, not only methods of theirs; weights are contiguous.
        """
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A stage that reads its data ahead, for which it must know the generators that will come."""

    def foresee(self, seeds: Iterator[int]) -> None:
        """Told once, before the first batch: the seeds of this process's generators, in the order
        in which `loss` is called with them, without end."""
        ...
