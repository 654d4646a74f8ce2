"""Lets Triton's interpreter compute with bfloat16 as a GPU does.

It keeps such numbers as their 16 bits.  Unchanged, it rounds to them towards zero, where a GPU
rounds to the nearest, and its products multiply the bits as integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


def mend_interpreter() -> None:
    """Change this process's interpreter for good."""
    convert, dot = interpreter._convert_float, InterpreterBuilder.create_dot

    def to_nearest(data: Any, source: Any, target: Any, rounding: Any) -> Any:
        if source == tl.float32 and target == tl.bfloat16:
            exact = torch.from_numpy(np.ascontiguousarray(data).view(np.float32))
            return exact.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
        return convert(data, source, target, rounding)

    def of_numbers(builder: Any, a: TensorHandle, b: TensorHandle, *rest: Any) -> TensorHandle:
        whole = (builder.cast_impl(x, tl.float32) if x.dtype == tl.bfloat16 else x for x in (a, b))
        return dot(builder, *whole, *rest)

    interpreter._convert_float = to_nearest
    InterpreterBuilder.create_dot = of_numbers
