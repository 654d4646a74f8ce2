"""Memory beyond 2³¹ elements, of which only what is touched is taken."""

from __future__ import annotations

import mmap

import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import GridExecutor


def reserved(monkeypatch: pytest.MonkeyPatch, x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The float16 numbers of `x`, so far apart, for a kernel in the interpreter."""
    # The interpreter would copy all of the memory onto itself.
    monkeypatch.setattr(GridExecutor, "_restore_args_dev", lambda *args: None)
    no_reserve = 0x4000  # Linux's MAP_NORESERVE, which Python 3.11 does not name
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    last = sum((size - 1) * stride for size, stride in zip(x.shape, strides, strict=True))
    memory = torch.frombuffer(mmap.mmap(-1, 2 * (last + 1), flags), dtype=torch.float16)
    return memory.as_strided(x.shape, strides).copy_(x)
