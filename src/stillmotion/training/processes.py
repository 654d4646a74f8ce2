"""The processes of a run: one, several GPUs, several machines.  Accelerate does the work.

`torchrun` or `accelerate launch` start the same program several times; each process computes the
loss of batches of its own, and they share gradients, time and interrupts, so that all take the
same steps.  The main process alone reports and writes; the folder of the run must be visible to
all.  Nothing here has an effect on the numbers of a run of one process.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    GradientAccumulationPlugin,
)
from torch import Tensor, nn

from stillmotion.errors import InputError
from stillmotion.training.settings import LoopSettings
from stillmotion.training.stage import Stage

Loss = Callable[[torch.Generator, float], dict[str, Tensor]]
_OTHER_ENGINES = frozenset(
    {
        DistributedType.DEEPSPEED,
        DistributedType.FSDP,
        DistributedType.MEGATRON_LM,
        DistributedType.XLA,
    }
)


def process_device(device: torch.device) -> torch.device:
    """The device for this process's networks: "cuda" becomes the GPU of its own.

    To be called before they are built; without several processes it is `device` itself.
    """
    local = int(os.environ.get("LOCAL_RANK", -1))
    if device != torch.device("cuda") or local < 0:
        return device
    own = torch.device("cuda", local % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


class Processes:
    """The processes of one run, seen from one of them."""

    def __init__(self, settings: LoopSettings, device: torch.device) -> None:
        self._accelerator = _accelerator(settings, device)
        self._sharded = settings.sharded
        self.device: torch.device = self._accelerator.device
        self.count: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        if self.count > 1 and device.type != "cpu" and device != self.device:
            raise InputError(
                f"process {self.rank} of {self.count} has its networks on {device} and should "
                f"have them on {self.device}; give the device as cpu or cuda, without a number"
            )

    @property
    def is_main(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether the networks are shared out."""
        return self._sharded and self.count > 1

    @property
    def scaler(self) -> Any:
        """The gradient scaler of float16, or None."""
        return self._accelerator.scaler

    def loss_of(self, stage: Stage) -> Loss:
        """The stage's loss in mixed precision; its backward pass averages gradients over all.

        Of parameters that are not shared out, the main process's values are taken by all.
        """
        loss = _LossModule(stage, self._accelerator)
        if self.count == 1 or self.sharded:
            return loss
        loss.trained = nn.ParameterList(stage.parameters())
        prepared: Loss = self._accelerator.prepare_model(loss, device_placement=False)
        return prepared

    def optimiser(self, optimiser: torch.optim.Optimizer) -> Any:
        """The optimiser, which skips a step where float16 overflowed (`step_was_skipped`)."""
        return self._accelerator.prepare_optimizer(optimiser, device_placement=False)

    def gradients_apart(self, loss: Loss, apart: bool) -> AbstractContextManager[Any]:
        """Average no gradients over the processes inside the block, if `apart`: more follow."""
        manager: AbstractContextManager[Any] = self._accelerator.no_sync(loss)
        return manager if apart else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one batch, divided by the number of batches of a step."""
        self._accelerator.backward(loss)

    def clip_gradients(self, parameters: list[nn.Parameter], norm: float) -> None:
        """Scale all gradients together to at most this norm."""
        self._accelerator.clip_grad_norm_(parameters, norm)

    def sums(self, values: Sequence[float]) -> list[float]:
        """Sums over the processes; waits until all have come here."""
        if self.count == 1:
            return list(values)
        given = torch.tensor(values, dtype=torch.float64, device=self.device)
        found: list[float] = self._accelerator.reduce(given, "sum").tolist()
        return found

    def means(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the processes of values with the same names in all."""
        names = sorted(values)
        sums = self.sums([values[name] for name in names])
        means = dict(zip(names, (total / self.count for total in sums), strict=True))
        return {name: means[name] for name in values}

    def any(self, value: bool) -> bool:
        """Whether it is true in any process; waits until all have come here."""
        return self.sums([float(value)])[0] > 0

    def agree(self, value: float) -> bool:
        """Whether the value is the same in all processes."""
        by_rank = [value if rank == self.rank else 0.0 for rank in range(self.count)]
        return len(set(self.sums(by_rank))) == 1


class _LossModule(nn.Module):
    """A stage's loss as the forward pass of a module, which is what DDP can synchronise."""

    def __init__(self, stage: Stage, accelerator: Accelerator) -> None:
        super().__init__()
        self._stage, self._accelerator = stage, accelerator

    def forward(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        with self._accelerator.autocast():
            values = self._stage.loss(generator, progress)
        # DDP follows every graph that is returned to find the parameters that take part.
        return {k: value if k == "loss" else value.detach() for k, value in values.items()}


def _accelerator(settings: LoopSettings, device: torch.device) -> Accelerator:
    if settings.float16 and device.type == "cpu":
        raise InputError("float16 trains on a GPU only; on the CPU use bfloat16, or neither")
    joined = torch.distributed.is_initialized()
    # Accelerate keeps one state per program; here each run has its own device and precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,
        mixed_precision=settings.precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=settings.gradient_accumulation_steps
        ),
        # A batch need not touch every parameter: conditions are dropped at random.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if torch.distributed.is_initialized() and not joined:
        atexit.register(PartialState().destroy_process_group)
    if accelerator.distributed_type in _OTHER_ENGINES:
        raise InputError(
            f"processes were launched for {accelerator.distributed_type.value}, which the loop "
            "does not use; launch them plainly, and choose FSDP2 by the setting sharded"
        )
    return accelerator
