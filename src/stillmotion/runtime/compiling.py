"""How `torch.compile` is asked to compile, for a device and a size of problem."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from stillmotion.errors import InputError

if TYPE_CHECKING:
    import torch

Mode = Literal["default", "reduce-overhead", "max-autotune"]
OFF, AUTO = "off", "auto"
#: What `--compile` takes: nothing compiled, chosen by device and size, or a mode of torch's.
CHOICES = (OFF, AUTO, *get_args(Mode))

#: Below so many latent values in a call, launching kernels takes a GPU longer than their work.
SMALL_CALL = 2 * 16 * 32 * 32
_CPP_COMPILERS = ("g++", "clang++")


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

    @property
    def uses_graphs(self) -> bool:
        """Whether blocks are recorded as CUDA graphs, whose results the next call overwrites."""
        return self.mode != "default"


def compiling_for(device: torch.device, num_positions: int) -> Compiling:
    """How to compile for calls of `num_positions` latent positions (rows, height, width together).

    Small calls on CUDA are recorded as CUDA graphs ("reduce-overhead"), which launches all their
    kernels at once; large ones gain nothing by it and would keep memory for it.
    """
    is_small = device.type == "cuda" and num_positions < SMALL_CALL
    return Compiling(mode="reduce-overhead" if is_small else "default")


def check_choice(choice: str) -> None:
    """Raises InputError unless `choice` is one of `CHOICES`."""
    if choice not in CHOICES:
        raise InputError(f"--compile is '{choice}'; it can be {', '.join(CHOICES)}.")


def check_compiler(choice: str, device: torch.device) -> None:
    """Raises InputError if what `choice` asks for cannot be compiled for `device` here."""
    check_choice(choice)
    if choice == OFF:
        return
    if device.type == "cpu":
        wanted = [os.environ["CXX"]] if os.environ.get("CXX") else list(_CPP_COMPILERS)
        if not any(shutil.which(name) for name in wanted):
            raise InputError(
                f"--compile {choice} needs a compiler for C++ on a CPU ({' or '.join(wanted)}), "
                "and there is none; install one, or leave out --compile."
            )
    elif device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError(
            f"--compile {choice} needs Triton on a GPU, and it is not here; install the package "
            "triton, or leave out --compile."
        )
    elif device.type not in ("cpu", "cuda"):
        raise InputError(
            f"--compile {choice} is for the devices cpu and cuda, not for '{device.type}'; leave "
            "out --compile."
        )


def compiling_of(
    choice: Compiling | str, device: torch.device, num_positions: int
) -> Compiling | None:
    """How to compile as `choice` says, for calls as in `compiling_for`; None: not at all.

    Raises InputError for a name that is none of `CHOICES`.
    """
    if isinstance(choice, Compiling):
        return choice
    check_choice(choice)
    if choice == OFF:
        return None
    if choice == AUTO:
        return compiling_for(device, num_positions)
    mode: Any = choice
    return Compiling(mode=mode)
