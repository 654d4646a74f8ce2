"""What a `MemoryPlan` does to a pipeline; `memory_needs.py` says how much it then takes.

`sequential_guidance` and `decode_chunk` are for those who denoise and decode; the rest is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, adapted, shadow
from stillmotion.errors import ModelError
from stillmotion.runtime.memory import MemoryPlan

FLOAT8 = torch.float8_e4m3fn
# Small layers on which everything else rests, and those of LoRAs, keep their precision.
_NEVER_FLOAT8 = re.compile(r"norm|pos_embed|^time_embedding\.|^conv_in$|^conv_out$|lora_")
# What the hooks of diffusers and accelerate leave on modules and on the pipeline.
_MODULE_HOOKS = ("forward", "_hf_hook", "_old_forward", "_diffusers_hook")
_PIPELINE_HOOKS = ("_all_hooks", "_offload_gpu_id", "_offload_device")


class ChunkedFeedForward(Adapter):
    """Computes each feed-forward layer of a U-Net in parts, a few rows of its batch at a time.

    Its hidden activations, eight times the input and more, are the largest there are.  The same
    but for rounding.  `enable_forward_chunking` of diffusers has one size of a part for all
    layers, and fails where it does not divide the rows.
    """

    def __init__(self, num_chunks: int) -> None:
        self._num_chunks = num_chunks

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(
            name for name, module in model.named_modules() if isinstance(module, FeedForward)
        )

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            layer = model.get_submodule(name)
            shadow(layer, "forward", self._in_parts(layer.forward), undo)

    def _in_parts(self, forward: Any) -> Any:
        def in_parts(x: Tensor) -> Tensor:
            return torch.cat([forward(part) for part in x.chunk(self._num_chunks)])

        return in_parts


def store_float8(unet: Any) -> None:
    """Store the large weights of `unet` in 8 bits (e4m3), to be widened layer by layer at work.

    For good: what rounding took away is not kept.  Norms, embeddings and the outermost
    convolutions keep their precision.
    """
    if _is_float8(unet):
        return
    unet.enable_layerwise_casting(
        storage_dtype=FLOAT8,
        compute_dtype=unet.dtype,
        skip_modules_pattern=(_NEVER_FLOAT8.pattern,),
    )


def apply_plan(pipe: Any, plan: MemoryPlan, *, device: torch.device) -> ExitStack:
    """Bring `pipe` to `device` as `plan` says; closing the result puts everything back.

    Use it as a context manager, or keep it open for the life of the pipeline.  With 8-bit weights
    `store_float8` must have been called, since that cannot be put back; otherwise ModelError.
    """
    if plan.weights == "float8" and not _is_float8(pipe.unet):
        raise ModelError(
            "The plan asks for 8-bit weights, which the U-Net does not have; call store_float8 "
            "when the model has been loaded."
        )
    with ExitStack() as undo:
        _put_back_later(pipe, undo)
        if plan.offload == "none":
            for network in networks_of(pipe).values():
                network.to(device)
        elif plan.offload == "idle":
            pipe.enable_model_cpu_offload(device=device)
        else:
            # Without streams: they fetch ahead in the order of the first call, and drawing calls
            # no motion modules.
            pipe.enable_group_offload(onload_device=device, offload_type="leaf_level")
        if plan.feed_forward_chunks > 1:
            undo.enter_context(adapted(pipe.unet, [ChunkedFeedForward(plan.feed_forward_chunks)]))
        return undo.pop_all()


def networks_of(pipe: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}


def _put_back_later(pipe: Any, undo: ExitStack) -> None:
    """Register on `undo` that hooks are taken off, and that networks go where they are now."""
    for network in networks_of(pipe).values():
        undo.callback(network.to, next(network.parameters()).device)
    for target, names in _hooked(pipe):
        own = vars(target)
        undo.callback(own.update, {name: own[name] for name in names if name in own})
        for name in names:
            undo.callback(own.pop, name, None)


def _hooked(pipe: Any) -> Iterator[tuple[object, tuple[str, ...]]]:
    yield pipe, _PIPELINE_HOOKS
    for network in networks_of(pipe).values():
        for module in network.modules():
            yield module, _MODULE_HOOKS


def _is_float8(unet: nn.Module) -> bool:
    return any(weight.dtype == FLOAT8 for weight in unet.parameters())


def leaves_of(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that diffusers stores in 8 bits or offloads one by one."""
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    return {name: part for name, part in network.named_modules() if isinstance(part, kinds)}


def float8_leaves(unet: nn.Module) -> list[nn.Module]:
    return [leaf for name, leaf in leaves_of(unet).items() if not _NEVER_FLOAT8.search(name)]
