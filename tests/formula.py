"""Weights by formula: the same values on every machine, from the names of tensors alone.

The rules are those of section 9 of the golden numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def fill_by_formula(network: nn.Module, salt: int) -> None:
    """Give a network the values that belong to the names of its tensors."""
    state = network.state_dict()
    network.load_state_dict({name: by_formula(name, t.shape, salt) for name, t in state.items()})


def by_formula(name: str, shape: tuple[int, ...], salt: int) -> Tensor:
    """The values of one tensor."""
    if name.endswith(".num_batches_tracked"):
        return torch.tensor(0)
    size = int(np.prod(shape, dtype=np.int64))
    return drawn(name, shape, salt, *_range(name, shape, size))


def drawn(name: str, shape: tuple[int, ...], salt: int, mean: float, amplitude: float) -> Tensor:
    """Values of mean ± amplitude, from the name and the salt alone."""
    size = int(np.prod(shape, dtype=np.int64))
    seed = np.uint32(zlib.crc32(name.encode()) ^ salt)
    x = np.arange(size, dtype=np.uint32) * np.uint32(0x9E3779B1) + seed
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    values = mean + amplitude * (2 * (x / 2.0**32) - 1)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def shapes_of(lines: str) -> dict[str, tuple[int, ...]]:
    """What a list of keys says: a name, a tab and a shape such as 64x3x7x7 on each line."""
    rows = (line.partition("\t") for line in lines.splitlines())
    return {name: tuple(map(int, shape.split("x"))) if shape else () for name, _, shape in rows}


def shapes_in(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """What a state dict has."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _range(name: str, shape: tuple[int, ...], size: int) -> tuple[float, float]:
    last = name.rpartition(".")[2]
    if last == "running_mean":
        return 0.0, 0.3
    if last == "running_var":
        return 1.0, 0.5
    if last == "weight" and len(shape) == 1:
        return 1.0, 0.4
    if last == "bias":
        return 0.0, 0.25
    return 0.0, ((6 if name.endswith("conv3d.weight") else 3) * shape[0] / size) ** 0.5
