"""Low-rank adapters, trained in place and saved in diffusers' LoRA format.

Training needs nothing beyond torch: each weight W becomes W + B A by a parametrisation.  The
file is then loaded by diffusers' own LoRA loader like any other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stillmotion.runtime.files import atomic_path


class LowRank(nn.Module):
    """W -> W + B A, with A `(rank, inputs)` random and B `(outputs, rank)` zero at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        initial = torch.randn(rank, inputs, generator=generator) / inputs**0.5
        self.down = nn.Parameter(initial.to(weight.device))
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def add_low_rank(model: nn.Module, rank: int, generator: torch.Generator) -> dict[str, LowRank]:
    """Freeze `model` and give every linear and convolutional layer a low-rank adapter.

    Returns:
        The adapters by the name of their layer, in the order of the module tree.
    """
    model.requires_grad_(False)
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    adapters = {}
    for name, layer in layers:
        smallest = min(layer.weight.shape[0], layer.weight[0].numel())
        adapters[name] = LowRank(layer.weight, min(rank, smallest), generator)
        parametrize.register_parametrization(layer, "weight", adapters[name])
    return adapters


def remove_low_rank(model: nn.Module, adapters: dict[str, LowRank]) -> None:
    """Take the adapters off again; the weights are what they were."""
    for name in adapters:
        layer = model.get_submodule(name)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def save_lora(model: nn.Module, adapters: dict[str, LowRank], path: Path, prefix: str) -> None:
    """Write the adapters as fp16 `<prefix>.<layer>.lora_{A,B}.weight`, diffusers' own naming."""
    tensors: dict[str, Tensor] = {}
    for name, adapter in adapters.items():
        layer = model.get_submodule(name)
        down, up = adapter.down.detach(), adapter.up.detach()
        if isinstance(layer, nn.Conv2d):
            down = down.view(-1, layer.in_channels // layer.groups, *layer.kernel_size)
            up = up[:, :, None, None]
        tensors[f"{prefix}.{name}.lora_A.weight"] = down.half().contiguous().cpu()
        tensors[f"{prefix}.{name}.lora_B.weight"] = up.half().contiguous().cpu()
    with atomic_path(path, overwrite=True) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
