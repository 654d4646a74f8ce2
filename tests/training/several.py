"""A program for `torchrun`: what happens to stages that several processes train together.

Each process writes what it saw of each scenario to `<folder>/<scenario>-<rank>.pt`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.training.regression import NetworkRegression, Regression, settings
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.training.loop import LoopSettings, train
from stillmotion.training.sharding import whole_state_dict

RANK = int(os.environ.get("RANK", 0))
HIDDEN = 7
"""No multiple of the processes: shares are uneven, and the last layer's is empty in one."""
STOPPED_AT = 17


class Forgetful(Regression):
    """A stage whose batches leave a weight out now and then, in one process and not in another."""

    def predicted(self, inputs: Tensor) -> Tensor:
        first, bias, second = self.weights
        hidden = inputs @ first.T
        if inputs[0, 0] > 0:
            hidden = hidden + bias
        return torch.tanh(hidden) @ second.T


def in_rank_1(step: int, action: Callable[[], object]) -> Callable[[int], None]:
    def before(computed: int) -> None:
        if RANK == 1 and computed == step:
            action()

    return before


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def told(stage: Regression, limits: LoopSettings, folder: Path) -> dict[str, Any]:
    """Train, and tell how it went."""
    reports: list[float] = []
    ended = "finished"
    try:
        train(stage, limits, folder, lambda progress, _: reports.append(progress))
    except KeyboardInterrupt:
        ended = "interrupted"
    except InputError as error:
        ended = str(error)
    if isinstance(stage, NetworkRegression) and limits.sharded:
        weights = list(whole_state_dict(stage.network).values())
    else:
        weights = stage.copies()
    return {
        "ended": ended,
        "weights": weights,
        "losses": stage.losses,
        "reports": len(reports),
    }


def scenarios(folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """By name; a name with a number goes on where the one before it stopped."""
    stopped, ddp, fsdp = folder / "stopped", settings(), settings(sharded=True)
    stop = in_rank_1(STOPPED_AT, terminate)

    def elsewhere() -> dict[str, Any]:
        own = folder / f"own-{RANK}"
        if RANK == 1:
            own.mkdir(exist_ok=True)
            (own / "regression.checkpoint").hardlink_to(stopped / "ddp/regression.checkpoint")
        return told(Regression(), ddp, own)

    def strange_start() -> dict[str, Any]:
        stage = Regression()
        with torch.no_grad():
            stage.weights[0].add_(RANK)
        return told(stage, ddp, folder / "strange")

    def network(**options: Any) -> NetworkRegression:
        return NetworkRegression(hidden=HIDDEN, **options)

    def stop_sharded() -> dict[str, Any]:
        seen = told(network(before=stop), fsdp, stopped / "fsdp")
        if RANK == 0:  # a copy for a test that goes on from here in one process
            (folder / "alone").mkdir()
            copy = folder / "alone/regression.checkpoint"
            copy.hardlink_to(stopped / "fsdp/regression.checkpoint")
        return seen

    return {
        "together": lambda: told(Regression(), ddp, folder / "together"),
        "bfloat16": lambda: told(Regression(), settings(bfloat16=True), folder / "bfloat16"),
        "accumulated": lambda: told(
            Regression(), settings(gradient_accumulation_steps=2), folder / "accumulated"
        ),
        "recomputed": lambda: told(
            network(), settings(gradient_checkpointing=True), folder / "recomputed"
        ),
        "forgetful": lambda: told(Forgetful(), ddp, folder / "forgetful"),
        "strange": strange_start,
        "stopped-1": lambda: told(Regression(before=stop), ddp, stopped / "ddp"),
        "elsewhere": elsewhere,
        "stopped-2": lambda: told(Regression(), ddp, stopped / "ddp"),
        "sharded": lambda: told(network(), fsdp, folder / "sharded"),
        "sharded-stopped-1": stop_sharded,
        "sharded-stopped-2": lambda: told(network(), fsdp, stopped / "fsdp"),
        "unshardable": lambda: told(Regression(), fsdp, folder / "unshardable"),
        "poisoned": lambda: told(
            Regression(poison=5 if RANK == 1 else None), ddp, folder / "poisoned"
        ),
        "killed": lambda: told(
            Regression(before=in_rank_1(STOPPED_AT, kill)),
            settings(checkpoint_seconds=0.0),
            folder / "killed",
        ),
        "killed-resumed": lambda: told(Regression(), ddp, folder / "killed"),
    }


def main(folder: Path, names: list[str]) -> None:
    every = scenarios(folder)
    for name in names:
        torch.save(every[name](), folder / f"{name}-{RANK}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    # All is written and nobody waits.  Seen once in some forty runs: a thread of torch's aborts an
    # interpreter that is on its way out, which says nothing about the scenarios.
    os._exit(0)
