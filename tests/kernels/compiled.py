"""Compiles the kernels for NVIDIA devices as their launchers call them, on a machine without one.

Run as a program, without the interpreter.  Each launcher is called with tensors of the host, a
recorder in the place of its kernel; what it would have launched is compiled to machine code.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from stillmotion.kernels import (
    triton_group_norm,
    triton_layer_norm,
    triton_pointwise,
    triton_temporal,
)
from stillmotion.kernels.maps import overlapping_views
from stillmotion.kernels.temporal import shared_bytes

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
}


@dataclass
class Recorder:
    """Takes a kernel's place and keeps what it is called with."""

    kernel: Any
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        assert len(grid) == 1
        return self._record

    def _record(self, *args: Any, **kwargs: Any) -> None:
        options = {name: kwargs.pop(name) for name in ("num_warps",) if name in kwargs}
        bound = inspect.signature(self.kernel.fn).bind(*args, **kwargs)
        self.calls.append({"arguments": dict(bound.arguments), "options": options})


def source(kernel: Any, arguments: dict[str, Any]) -> ASTSource:
    """The kernel, specialised as Triton's launcher specialises it for these arguments."""
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for index, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            signature[parameter.name] = "constexpr"
            constants[(index,)] = value
        elif isinstance(value, Tensor):
            signature[parameter.name] = _POINTERS[value.dtype]
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            signature[parameter.name] = "fp32"
        else:
            signature[parameter.name] = "i32" if value < 2**31 else "i64"
            if value % 16 == 0:
                attributes[(index,)] = [["tt.divisibility", 16]]
    return ASTSource(kernel, signature, constants, attributes)


def compiled(
    module: ModuleType, names: tuple[str, ...], capability: int, launch: Callable[[], object]
) -> Iterator[tuple[str, Any]]:
    """What the kernels `names` of `module` become when `launch` calls them, compiled."""
    recorders = {name: Recorder(getattr(module, name)) for name in names}
    with mock.patch.multiple(module, **recorders):
        launch()
    target = GPUTarget("cuda", capability, 32)
    for name, recorder in recorders.items():
        assert recorder.calls, f"{name} was not launched"
        for call in recorder.calls:
            made = source(recorder.kernel, call["arguments"])
            kernel = triton.compile(made, target=target, options=call["options"])
            yield name, kernel


def temporal(
    capability: int, dtype: torch.dtype, d: int, frames: int, length: int, how: str
) -> Iterator[tuple[str, Any]]:
    """Of a clip (b f n c): with every table, with a map alone ("bare"), or without ("global")."""
    heads, n = 8, 4
    buffer = torch.zeros(2, frames, n, 3 * heads * d, dtype=dtype)
    q, k, v = (x.unflatten(-1, (heads, d)).permute(0, 2, 3, 1, 4) for x in buffer.chunk(3, -1))
    views = overlapping_views(frames, length)
    table = torch.zeros(heads, length, d, dtype=dtype)
    queries = table[:, views.query_slot].transpose(0, 1)
    full = (table, table, queries, views.weights.float())
    src = None if how == "global" else views.src.int()
    tables = full if how == "full" else (None,) * 4
    return compiled(
        triton_temporal,
        ("temporal_attention_kernel",),
        capability,
        lambda: triton_temporal.launch_temporal_attention(q, k, v, src, *tables),
    )


def others(capability: int, dtype: torch.dtype) -> Iterator[tuple[str, Any]]:
    """Of a ResNet block and of a transformer block."""
    x = torch.zeros(2, 320, 16, 16, dtype=dtype).to(memory_format=torch.channels_last).flatten(2)
    w, add = torch.zeros(320, dtype=dtype), torch.zeros(1, 320, dtype=dtype)
    yield from compiled(
        triton_group_norm,
        ("channel_statistics_kernel", "group_statistics_kernel", "scale_silu_kernel"),
        capability,
        lambda: triton_group_norm.launch_group_norm_silu(x, 32, w, w, 1e-5, add, True),
    )
    rows = x.transpose(1, 2)
    yield from compiled(
        triton_layer_norm,
        ("add_layer_norm_kernel",),
        capability,
        lambda: triton_layer_norm.launch_add_layer_norm(rows, rows, w, w, 1e-5),
    )
    yield from compiled(
        triton_pointwise,
        ("geglu_kernel",),
        capability,
        lambda: triton_pointwise.launch_geglu(rows[0]),
    )


def stack_bytes(cubin: bytes) -> int:
    """Memory that a thread takes for what does not fit in its registers."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"STACK:(\d+)", said)
    assert found, said
    return int(found[1])


def main() -> None:
    """Print a line for each kernel compiled.  A case is "80,float16" for all kernels but that of
    attention, and "80,float16,40,16,16,full" for that: capability, dtype, d, frames, length, how.
    """
    for case in sys.argv[1:]:
        capability, precision, *sizes = case.split(",")
        dtype = getattr(torch, precision)
        made = (
            temporal(int(capability), dtype, *map(int, sizes[:3]), sizes[3])
            if sizes
            else others(int(capability), dtype)
        )
        for name, kernel in made:
            cubin, shared = kernel.asm["cubin"], kernel.metadata.shared
            if sizes:
                bound = shared_bytes(int(sizes[2]), int(sizes[0]), dtype.itemsize)
                assert shared <= bound, f"{case}: {shared} bytes shared, not {bound} at most"
            print(f"{case} {name}: {len(cubin)} bytes, stack {stack_bytes(cubin)}")


if __name__ == "__main__":
    main()
