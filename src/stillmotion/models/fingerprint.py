"""Identity of weights: one sha256 over everything that decides what a network computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn


def fingerprint(
    modules: Mapping[str, nn.Module],
    *,
    include: Callable[[str], bool] = lambda name: True,
    max_elements: int | None = None,
) -> str:
    """sha256 (hex) over the names, shapes, dtypes and bytes of all tensors of `modules`.

    The same weights give the same fingerprint in every process and on every device; another
    precision is another model.  The scales of LoRA layers count too, since they are no tensors.
    `include` chooses by full name (`"unet.conv_in.weight"`).  With `max_elements` only that many
    evenly spaced elements of each tensor are read: milliseconds instead of seconds, good enough
    to notice within one process that weights were changed.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(modules)):
        if include(name):
            digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
            digest.update(_raw_bytes(tensor, max_elements))
    for name, state in sorted(_lora_states(modules)):
        if include(name):
            digest.update(json.dumps([name, state]).encode())
    return digest.hexdigest()


def _tensors(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in modules.items():
        for name, tensor in module.state_dict().items():
            yield f"{prefix}.{name}", tensor


def _raw_bytes(tensor: Tensor, max_elements: int | None) -> memoryview:
    flat = tensor.detach().reshape(-1)
    if max_elements is not None and flat.numel() > max_elements:
        step = -(-flat.numel() // max_elements)
        flat = flat[torch.arange(0, flat.numel(), step, device=flat.device)]
    return flat.cpu().contiguous().view(torch.uint8).numpy().data


def _lora_states(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, str]]:
    """Scales, active adapters and switches of PEFT layers."""
    for prefix, module in modules.items():
        for name, layer in module.named_modules():
            scaling = getattr(layer, "scaling", None)
            if isinstance(scaling, dict) and hasattr(layer, "active_adapters"):
                active = [] if layer.disable_adapters else list(layer.active_adapters)
                merged = list(layer.merged_adapters)
                yield f"{prefix}.{name}", json.dumps([sorted(scaling.items()), active, merged])
