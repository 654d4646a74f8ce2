"""What the device can do at most, measured in the same run: a matrix product and a copy.

The seconds of a contender mean little by themselves.  With these two ceilings they become shares:
of the FLOPs that the device can compute, and of the bytes that it can move, in that time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stillmotion.benchmarks.timing import stopwatch

_REPEATS = 7
_MATRIX = {"cpu": 2048, "cuda": 8192}
_COPY_BYTES = {"cpu": 256 * 2**20, "cuda": 4 * 2**30}
"""Much more than any cache holds."""


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """What a device reaches."""

    flops_per_second: dict[str, float]
    """Of a large square matrix product, a multiplication and an addition being two, by the name of
    the precision."""
    bytes_per_second: float
    """Read and written by a large copy."""

    def share_of_flops(self, flops: int, seconds: float, dtype: torch.dtype) -> float:
        """Of the matrix product's rate in that precision."""
        return flops / seconds / self.flops_per_second[name_of(dtype)]

    def share_of_bytes(self, num_bytes: int, seconds: float) -> float:
        """Of the copy's rate."""
        return num_bytes / seconds / self.bytes_per_second

    def better_of(self, other: Ceilings) -> Ceilings:
        """The higher of both, since nothing makes a device faster than it is."""
        return Ceilings(
            flops_per_second={
                name: max(rate, other.flops_per_second[name])
                for name, rate in self.flops_per_second.items()
            },
            bytes_per_second=max(self.bytes_per_second, other.bytes_per_second),
        )


def calibrate(device: torch.device, dtype: torch.dtype, size: int | None = None) -> Ceilings:
    """Measure both, in float32 and in `dtype`; a few seconds.

    `size` is that of the matrices, and of a row of the copy; None: enough to fill the device.
    """
    side = size or _MATRIX.get(device.type, 4096)
    copied = size * 1024 if size else _COPY_BYTES.get(device.type, 2**30)
    rates = {
        name_of(each): 2 * side**3 / _median(_product(side, each, device), device)
        for each in dict.fromkeys((torch.float32, dtype))
    }
    source = torch.ones(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = _median(lambda: target.copy_(source), device)
    return Ceilings(flops_per_second=rates, bytes_per_second=2 * copied / seconds)


def name_of(dtype: torch.dtype) -> str:
    """`bfloat16` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.")


def _product(side: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    # Power, and with it speed, depends on the values: zeros would flatter.
    rng = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=rng).to(device, dtype) for _ in range(2))
    result = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=result)


def _median(work: Callable[[], object], device: torch.device) -> float:
    for _ in range(2):
        stopwatch(work, device)
    return statistics.median(stopwatch(work, device) for _ in range(_REPEATS))
