"""How much memory there is, how much a computation needs, and what can be done to need less."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from stillmotion.errors import InputError
from stillmotion.runtime.system import host_memory

Weights = Literal["as_loaded", "float8"]
Offload = Literal["none", "idle", "layers"]

AUTO = "auto"
# Room for what no count sees: workspaces of kernels, gaps between allocations, other programs.
_MARGIN = 1.2
_CUDA_DECODE_CHUNK = 4
# As the allocators of CUDA, Metal and the CPU, and the libraries of CUDA, say it.
_NO_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
)


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What is done to need less memory; the defaults are none of it.

    Raises InputError for a number below 1.
    """

    sequential_guidance: bool = False
    """The halves of guidance one after the other: half the activations of the U-Net."""
    decode_chunk: int = 8
    """Frames that the VAE decodes at once."""
    feed_forward_chunks: int = 1
    """Parts in which the feed-forward layers of the U-Net are computed."""
    weights: Weights = "as_loaded"
    """"float8": the U-Net's large weights stored in 8 bits; changes the result."""
    offload: Offload = "none"
    """"idle": networks that are not at work, "layers": all weights, wait on the host."""

    def __post_init__(self) -> None:
        for name in ("decode_chunk", "feed_forward_chunks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a whole number from 1 up.")

    @property
    def is_exact(self) -> bool:
        """Whether results are the plain ones, but for rounding."""
        return self.weights == "as_loaded"

    def on(self, device: torch.device) -> MemoryPlan:
        """The plan without what saves nothing, or does not exist, on `device`.

        Offloading needs a device with memory of its own; Apple's has no 8-bit floats.  On CUDA
        decoding 8 frames at once would need more than all that comes before.
        """
        plan = self
        if device.type == "cuda":
            plan = replace(plan, decode_chunk=min(plan.decode_chunk, _CUDA_DECODE_CHUNK))
        if device.type in ("cpu", "mps"):
            plan = replace(plan, offload="none")
        if device.type == "mps":
            plan = replace(plan, weights="as_loaded")
        return plan


PRESETS: Mapping[str, MemoryPlan] = MappingProxyType(
    {
        "full": MemoryPlan(),
        "lean": MemoryPlan(sequential_guidance=True, decode_chunk=2, feed_forward_chunks=4),
        "small": MemoryPlan(
            sequential_guidance=True, decode_chunk=1, feed_forward_chunks=4, offload="idle"
        ),
        "tiny": MemoryPlan(
            sequential_guidance=True,
            decode_chunk=1,
            feed_forward_chunks=4,
            weights="float8",
            offload="layers",
        ),
    }
)
"""By name, each needing no more memory than the one before it."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes on the device: weights that lie there, and activations alive at once."""

    weights: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.activations


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What a clip needs at most, while it is denoised and while it is decoded."""

    denoise: Need
    decode: Need

    @property
    def activations(self) -> int:
        return max(self.denoise.activations, self.decode.activations)

    @property
    def total(self) -> int:
        return max(self.denoise.total, self.decode.total)


def plan_for(
    name: str,
    *,
    device: torch.device,
    free_bytes: int | None,
    estimate: Callable[[MemoryPlan], int],
) -> MemoryPlan:
    """The preset called `name`, as far as it makes sense on `device`.

    "auto" is the first preset for which `estimate(plan)`, in bytes, fits into `free_bytes` with a
    fifth to spare; the last if none does, the first if it is not known what is free.  Raises
    InputError for an unknown name.
    """
    plans = {known: plan.on(device) for known, plan in PRESETS.items()}
    if name in plans:
        return plans[name]
    if name != AUTO:
        raise InputError(f"memory is {name!r}; it can be {', '.join([AUTO, *plans])}.")
    for plan in plans.values():
        if free_bytes is None or fits(estimate(plan), free_bytes):
            return plan
    return plan


def fits(needed_bytes: int, free_bytes: int) -> bool:
    """Whether that much can be used with a fifth to spare."""
    return needed_bytes * _MARGIN <= free_bytes


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process can still take on `device`; None where the system does not tell.

    On a CPU within the limit of the container; on CUDA with what torch holds but does not use.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return host_memory()[1] if device.type == "cpu" else None


def release_cached(device: torch.device) -> None:
    """Give memory that torch holds but does not use back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or a library below it says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in _NO_MEMORY_WORDS
    )


def peak_bytes(compute: Callable[[], object]) -> int:
    """The most bytes of tensors alive at once that `compute` makes, without gradients.

    Counted, not measured: on the meta device nothing is computed and nothing fills memory.
    Storage counts once, however many views it has, from the operation that makes it until the
    last view is gone.  Attention counts as a fused kernel, as CUDA and CPUs have it.  What existed
    before, and the workspaces of kernels, do not count.
    """
    count = _LiveBytes()
    with torch.no_grad(), _FusedAttention(), count:
        compute()
    return count.peak


class _LiveBytes(TorchDispatchMode):
    """Follows every storage from the operation that makes it to its end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            self._notice(tensor, num_bytes=0)  # unless known, it was there before
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            self._notice(tensor, num_bytes=tensor.untyped_storage().nbytes())
        self.peak = max(self.peak, self._live)
        return result

    def _notice(self, tensor: Tensor, num_bytes: int) -> None:
        # torch keeps one Python object for a storage as long as the storage lives.
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return

        def gone(reference: object) -> None:
            del self._known[key]
            self._live -= num_bytes

        self._known[key] = weakref.ref(storage, gone)
        self._live += num_bytes


class _FusedAttention(TorchFunctionMode):
    """On the meta device torch would spell attention out, with all products of all tokens."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            return fused(*args, **(kwargs or {}))[0]
        return func(*args, **(kwargs or {}))


def _tensors(values: object) -> Iterator[Tensor]:
    return (value for value in tree_iter(values) if isinstance(value, Tensor))
