"""Counts what a computation costs, operator by operator: FLOPs, bytes moved, operations, memory.

Nothing is measured, so nothing depends on the machine: a mode of torch sees every operator that is
called and reads the shapes.  On the meta device, where tensors have no contents, networks of full
size are counted in seconds.

What counts, for an operator with a result on the counted device:

=====================  ==========================================================================
operations             1.  Views (the result lies in the memory of an argument) and allocations
                       without contents are free: no device does anything for them.
FLOPs                  of products only, a multiplication and an addition being two:

                       product (m k) (k n)                           2 m k n
                       convolution, weights (o i/g ...)              2 |result| (i/g) |kernel|
                       transposed, weights (i o/g ...)               2 |argument| (o/g) |kernel|
                       attention, q (... n d), k (... m d), v (... m e)   2 |...| n m (d + e)
                       attention over frames, v views, q (... r d), k     2 v |q| (2 f + 2 l)
                       (... f d), position parts of l slots (or without)

                       A bias and the softmax are not counted, as in torch's `FlopCounterMode`.
bytes moved            every argument read once and every result written once, at its own size: an
                       axis that was expanded (stride 0) is read once, and a lookup reads as much
                       as it returns.
peak                   see `stillmotion.runtime.memory.peak_bytes`.
=====================  ==========================================================================

Bytes are those of an ideal device that runs one operator after the other, each with a perfect cache
for its own arguments; kernels that read an argument twice, and the change of layout inside some
convolutions, are not seen.  Attention is one operator, as the fused kernels of CUDA and CPUs have
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from stillmotion.runtime.memory import peak_bytes

META = torch.device("meta")
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
Result = TypeVar("Result")

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "matrix product": ("mm", "addmm", "bmm", "baddbmm"),
        "convolution": ("convolution", "_convolution"),
        "attention": (
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
            "temporal_attention",
        ),
        "norm": ("native_group_norm", "native_layer_norm", "group_norm_silu", "add_layer_norm"),
        "activation": ("gelu", "silu", "_softmax", "sigmoid", "tanh", "geglu"),
        "arithmetic": (
            "add", "add_", "sub", "rsub", "mul", "mul_", "div", "div_", "neg", "pow", "sqrt",
            "rsqrt", "exp", "sin", "cos", "lerp", "clamp", "maximum", "minimum", "eq", "gt",
            "where", "mean", "sum", "std", "var", "addcmul",
        ),
        "copy": (
            "clone", "copy_", "_to_copy", "cat", "stack", "repeat", "index_select",
            "constant_pad_nd",
        ),
    }
)  # fmt: skip
"""Operators of aten, and the fused ones of `stillmotion.kernels`, without namespace, by the kind
that tables show; all others are `OTHER`."""
OTHER = "other"
_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}

# The first argument is written, not read.
_OVERWRITING = frozenset({"copy_", "fill_", "zero_"})
# Of the first argument only as much is read as is returned.
_LOOKUPS = frozenset({"embedding", "gather", "index", "index_select"})
# Only make room; what is written there later is counted then.
_ALLOCATIONS = frozenset(
    {
        "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided",
    }
)  # fmt: skip


def kind_of(operator: str) -> str:
    """The kind of an operator by its name without namespace."""
    return _KIND_OF.get(operator, OTHER)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What all uses of one or several operators cost."""

    operations: int = 0
    flops: int = 0
    bytes_moved: int = 0
    largest_bytes: int = 0
    """Of the largest tensor that one of them made: shows at once if tokens are multiplied."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            operations=self.operations + other.operations,
            flops=self.flops + other.flops,
            bytes_moved=self.bytes_moved + other.bytes_moved,
            largest_bytes=max(self.largest_bytes, other.largest_bytes),
        )


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a computation costs."""

    operators: Mapping[str, Tally]
    """By the operator's name without namespace, in alphabetical order."""
    peak_bytes: int
    """Alive at once of what it made, without weights and arguments."""

    @property
    def total(self) -> Tally:
        """Over all operators."""
        return sum(self.operators.values(), Tally())

    def by_kind(self) -> dict[str, Tally]:
        """Over the operators of each kind that occurs, in the order of `KINDS`."""
        kinds = {kind: Tally() for kind in (*KINDS, OTHER)}
        for name, tally in self.operators.items():
            kinds[kind_of(name)] += tally
        return {kind: tally for kind, tally in kinds.items() if tally.operations}


def counted(compute: Callable[[], Result], device: torch.device = META) -> tuple[Result, Counts]:
    """What `compute` returns, and what it cost on `device`, without gradients.

    Work on other devices, such as tables of indices that are made on the host, is not counted.
    """
    counter = _Counter(device)
    results: list[Result] = []

    def watched() -> None:
        with counter:
            results.append(compute())

    peak = peak_bytes(watched)
    operators = dict(sorted(counter.operators.items()))
    return results[0], Counts(operators=MappingProxyType(operators), peak_bytes=peak)


class _Counter(TorchDispatchMode):
    """Adds up every operator with a result on one device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: dict[str, Tally] = {}
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE):
            # Made of others, as `linear`; inference mode alone shows such.  Not `func.decompose`,
            # which takes apart more than torch does when it computes.
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        result = func(*args, **kwargs)
        if func.overloadpacket.__name__ == "convolution":
            result = _laid_out(result, args[0], args[1])
        given = [tensor for tensor in _tensors((args, kwargs)) if self._is_here(tensor)]
        made = [tensor for tensor in _tensors(result) if self._is_here(tensor)]
        name = func.overloadpacket.__name__
        if made and name not in _ALLOCATIONS and not _is_view(func, given, made):
            tally = Tally(
                operations=1,
                flops=flops_of(name, args, result),
                bytes_moved=_bytes_moved(name, given, made),
                largest_bytes=max(tensor.numel() * tensor.element_size() for tensor in made),
            )
            self.operators[name] = self.operators.get(name, Tally()) + tally
        return result

    def _is_here(self, tensor: Tensor) -> bool:
        return tensor.device.type == self._device.type


def _laid_out(result: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The result of a convolution in the order of memory that CUDA and CPUs give it.

    Channels last if picture and weights are; the meta device always lays channels out first.
    """
    last = torch.channels_last
    if not (result.is_meta and result.ndim == 4 and _is_channels_last(x)):
        return result
    if not weight.is_contiguous(memory_format=last):
        return result
    return result.new_empty(result.shape).contiguous(memory_format=last)


def _is_channels_last(x: Tensor) -> bool:
    """Whether channels lie last, and not only as well as first, as with one channel or place."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def flops_of(operator: str, args: Any, result: Any) -> int:
    """FLOPs of one use of an operator, 0 if it is no product.

    `operator` without namespace, its positional arguments and its result; formulas at the top.
    """
    if operator in ("mm", "bmm"):
        return _product_flops(args[0], args[1])
    if operator in ("addmm", "baddbmm"):
        return _product_flops(args[1], args[2])
    if operator == "temporal_attention":
        return _temporal_flops(*args)
    kind = kind_of(operator)
    if kind == "convolution":
        is_transposed: bool = args[6]
        places: Tensor = args[0] if is_transposed else result
        weight: Tensor = args[1]
        return 2 * places.numel() * math.prod(weight.shape[1:])
    if kind == "attention":
        q, k, v = (tensor.shape for tensor in args[:3])
        pairs: int = math.prod(q[:-1]) * k[-2]
        return 2 * pairs * int(q[-1] + v[-1])
    return 0


def _temporal_flops(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    src: Tensor | None,
    key_positions: Tensor | None,
    value_positions: Tensor | None,
    *_: object,
) -> int:
    """Of queries (... r d) with f tokens, and with the position parts of l slots."""
    parts = [k.shape[-2], v.shape[-2]]
    parts += [table.shape[-2] for table in (key_positions, value_positions) if table is not None]
    num_views = 1 if src is None else len(src)
    return 2 * num_views * q.numel() * sum(parts)


def _product_flops(left: Tensor, right: Tensor) -> int:
    """Of (... m k) by (... k n)."""
    return 2 * left.numel() * right.shape[-1]


def _bytes_moved(operator: str, given: list[Tensor], made: list[Tensor]) -> int:
    read = given
    written = sum(_size(tensor) for tensor in made)
    if operator in _OVERWRITING:
        read = given[1:]
    elif operator in _LOOKUPS:
        return 2 * written + sum(_size(tensor) for tensor in given[1:])
    return written + sum(_size(tensor) for tensor in read)


def _size(tensor: Tensor) -> int:
    """Bytes that reading or writing all of it moves: expanded axes lie in memory once."""
    if tensor.numel() == 0:
        return 0
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(n for n, stride in sizes if stride) * tensor.element_size()


def _is_view(func: Any, given: list[Tensor], made: list[Tensor]) -> bool:
    """Whether the result lies in memory that was there, and nothing was written to it."""
    known = {tensor.untyped_storage()._cdata for tensor in given}
    return not func._schema.is_mutable and all(
        tensor.untyped_storage()._cdata in known for tensor in made
    )


def _tensors(values: object) -> Iterator[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor))
