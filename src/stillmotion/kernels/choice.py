"""Whether a tensor is given to the fused kernels or to the plain PyTorch form."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = frozenset({torch.float16, torch.bfloat16, torch.float32})
# Triton supports NVIDIA devices of this compute capability and above.
_OLDEST_DEVICE = (8, 0)
# Older ones, which torch 2.6 to 2.9 bring, are untested; that of torch 2.6 has no `tl.gather`.
_OLDEST_TRITON = (3, 6)
_TRITONS = ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm", "triton-windows")
_ON_META: ContextVar[bool] = ContextVar("stillmotion_fused_on_meta", default=False)


@contextmanager
def fused_on_meta() -> Iterator[None]:
    """Within, tensors of the meta device are treated as a GPU's: counts see the fused operators."""
    token = _ON_META.set(True)
    try:
        yield
    finally:
        _ON_META.reset(token)


def is_fused(x: Tensor) -> bool:
    """Whether the fused kernels compute with `x`; otherwise the plain PyTorch form does.

    They do for float16, bfloat16 and float32 on a CUDA device that Triton supports, where Triton
    and what it needs is installed, and within `fused_on_meta()` on the meta device.  They have no
    gradient, so never for a tensor that needs one; nor under autocast, which they do not know.
    """
    if x.dtype not in _DTYPES or (x.requires_grad and torch.is_grad_enabled()):
        return False
    if x.is_cuda:
        return _is_supported(x.device.index) and not torch.is_autocast_enabled("cuda")
    return x.is_meta and _ON_META.get()


def are_fused(x: Tensor, *same: Tensor, tables: tuple[Tensor | None, ...] = ()) -> bool:
    """`is_fused` for a function of several tensors.

    `same` must be of the dtype and on the device of `x`; `tables` (weights, positions) may be of
    any floating dtype.
    """
    given = [table for table in tables if table is not None]
    return (
        is_fused(x)
        and all(other.dtype == x.dtype for other in same)
        and all(is_fused(other) and other.device == x.device for other in (*same, *given))
    )


def _is_supported(index: int) -> bool:
    """Whether Triton can be used here and supports this device; torch calls AMD's CUDA too."""
    return _looked_up(index)


# For torch.compile, which cannot look inside: as `torch.compiler.assume_constant_result` marks it,
# without the seconds that importing the compiler takes.
_is_supported._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def _looked_up(index: int) -> bool:
    if importlib.util.find_spec("triton") is None:
        return False
    if _triton_version() < _OLDEST_TRITON or not _can_build():
        return False
    if torch.version.hip is not None:
        return True
    return torch.cuda.get_device_capability(index) >= _OLDEST_DEVICE


def _triton_version() -> tuple[int, ...]:
    """(major, minor) of the installed Triton, () if it does not say."""
    for name in _TRITONS:
        try:
            said = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return tuple(map(int, re.findall(r"\d+", said)[:2]))
    return ()


def _can_build() -> bool:
    """Whether there is what Triton builds the launchers of its kernels with, when one is first
    used: a C compiler and Python's headers.  On Windows it brings its own."""
    if sys.platform == "win32":
        return True
    compilers = (os.environ.get("CC"), shutil.which("gcc"), shutil.which("clang"))
    headers = Path(sysconfig.get_path("include", "posix_prefix"))
    return any(compilers) and (headers / "Python.h").is_file()
