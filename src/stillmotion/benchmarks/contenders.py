"""What is timed: contenders that make the same thing, and the arenas where they meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Label = Literal["reference", "exact", "approximate", "other"]
"""What a contender claims: to be the yardstick, to give the same but for rounding, to come near
it, or to be another method that is timed beside it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """What one run of a contender made."""

    latents: Tensor
    """z_0 (1 c f h w), or whatever tensor is compared; empty if there is nothing to compare."""
    frames: NDArray[np.uint8] | None = None
    """RGB (f h w 3)."""


Run = Callable[[int], Made]
"""Makes it in so many steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A contender that is ready to run."""

    run: Run
    networks: tuple[Any, ...] = ()
    """Whose weights it computes with."""

    @property
    def weight_bytes(self) -> int:
        """Of all networks; what several share counts once."""
        tensors = {
            tensor.data_ptr(): tensor.numel() * tensor.element_size()
            for network in self.networks
            for tensor in (*network.parameters(), *network.buffers())
        }
        return sum(tensors.values())


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of making the thing that an arena is about."""

    name: str
    title: str
    group: str
    label: Label
    prepare: Callable[[Any], Prepared]
    """Makes it ready on the arena's stage; changes nothing that others on the stage can see."""
    against: str | None = None
    """The name of whom it is held against: by parity if exact, by its frames if approximate."""
    is_counted: bool = True
    """Whether FLOPs, bytes and live tensors can be counted, operator by operator: not where a
    compiler has merged operators."""
    needs_gpu: bool = False
    missing: str = ""
    """Why it cannot be prepared here; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Contenders that are timed side by side, on one stage."""

    name: str
    title: str
    """What each of them makes."""
    build: Callable[[torch.dtype], Any]
    """The stage: networks with their weights in that precision, and what is to be made."""
    contenders: tuple[Contender, ...]
    num_steps: int

    def only(self, groups: Sequence[str]) -> Arena | None:
        """With the contenders of some groups, or those that they are held against; None if none."""
        wanted = {one.name for one in self.contenders if one.group in groups}
        wanted |= {one.against for one in self.contenders if one.name in wanted and one.against}
        if not wanted:
            return None
        kept = tuple(one for one in self.contenders if one.name in wanted)
        return replace(self, contenders=kept)
