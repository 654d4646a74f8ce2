"""How `torch.compile` is asked to compile, for a device and a size of problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

Mode = Literal["default", "reduce-overhead"]

#: Below so many latent values in a call, launching kernels takes a GPU longer than their work.
SMALL_CALL = 2 * 16 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class Compiling:
    """Options of `torch.compile` for one block of a network.

    Shapes are fixed: those of a clip do not change from step to step, and kernels for fixed shapes
    are faster.  Graphs are whole: what cannot be compiled is an error, not a slow path unnoticed.
    """

    backend: str = "inductor"
    mode: Mode = "default"

    def options(self) -> dict[str, Any]:
        """The keywords of `torch.compile`."""
        mode = {} if self.mode == "default" else {"mode": self.mode}
        return {"backend": self.backend, "fullgraph": True, "dynamic": False, **mode}


def compiling_for(device: torch.device, num_positions: int) -> Compiling:
    """How to compile for calls of `num_positions` latent positions (rows, height, width together).

    Small calls on CUDA are recorded as CUDA graphs ("reduce-overhead"), which launches all their
    kernels at once; large ones gain nothing by it and would keep memory for it.
    """
    is_small = device.type == "cuda" and num_positions < SMALL_CALL
    return Compiling(mode="reduce-overhead" if is_small else "default")
