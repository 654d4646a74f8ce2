"""Networks shared out over processes by `fully_shard` (FSDP2), and whole again for files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from stillmotion.errors import InputError
from stillmotion.training.stage import Shardable, Stage


def shard(stage: Stage, device: torch.device) -> None:
    """Leave each process its share of the stage's networks, in place; the main process's weights.

    Raises:
        InputError: a stage that does not say how, or trains a parameter outside of its modules.
    """
    if not isinstance(stage, Shardable):
        raise InputError(
            f"the stage {stage.name} does not say how to share out its networks; "
            "train it with sharded off"
        )
    modules = stage.sharded_modules()
    for tensor in dict.fromkeys(t for m in modules for t in (*m.parameters(), *m.buffers())):
        distributed.broadcast(tensor.detach(), src=0)
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for module in modules:
        fully_shard(module, mesh=mesh)
    if not all(isinstance(parameter, DTensor) for parameter in stage.parameters()):
        raise InputError(
            f"the stage {stage.name} trains parameters outside of the modules that it shares out; "
            "train it with sharded off"
        )


def share_of(whole: Tensor, parameter: Tensor) -> Tensor:
    """What this process keeps of a tensor that belongs to `parameter`.

    All of it, unless the parameter is shared out and the tensor has its shape.
    """
    if not isinstance(parameter, DTensor) or whole.shape != parameter.shape:
        return whole
    place = (parameter.device_mesh, parameter.placements)
    shared: Tensor = distribute_tensor(whole.to(parameter.device), *place, src_data_rank=None)
    return shared


def made_whole(value: Any, *, keep: bool) -> Any:
    """The dictionaries and lists of `value` with their shared-out tensors gathered on the CPU.

    Every process must call it; those that do not `keep` get None in place of such tensors.
    """
    if isinstance(value, DTensor):
        whole = value.full_tensor()
        return whole.cpu() if keep else None
    if isinstance(value, dict):
        return {name: made_whole(part, keep=keep) for name, part in value.items()}
    if isinstance(value, list):
        return [made_whole(part, keep=keep) for part in value]
    return value


def whole_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of a module that may be shared out, to be saved after training.

    Every process must call it; the main one gets the tensors, the others None for each that is
    shared out.
    """
    keep = not distributed.is_initialized() or distributed.get_rank() == 0
    whole: dict[str, Tensor] = made_whole(dict(module.state_dict()), keep=keep)
    return whole
