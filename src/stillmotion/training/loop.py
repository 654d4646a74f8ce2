"""One training loop for every stage, in one process or in many.

A stage says what is trained and what a batch's loss is; the loop does the rest: time or step
budget, learning-rate schedule over that budget, gradient clipping, EMA, checkpoints, logging,
resuming.  Batches are functions of (seed, step), so resuming needs no data position: the run
goes on as if it had never stopped, but for the seconds since the last checkpoint.  A step of
several batches numbers them, and does not depend on which process computes which: two processes
take the steps of one that accumulates two batches, to rounding.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.checkpoint import load_checkpoint, save_checkpoint, unusable
from stillmotion.training.ema import WeightAverage
from stillmotion.training.interrupts import Interruption, interrupts_held
from stillmotion.training.processes import Processes
from stillmotion.training.settings import LoopSettings
from stillmotion.training.sharding import made_whole, shard, share_of
from stillmotion.training.stage import Foreseeing, Recomputing, Stage

__all__ = ["LoopSettings", "Report", "Stage", "train"]

Report = Callable[[float, dict[str, float]], None]
"""Called now and then with the progress (0 to 1) and smoothed values to show."""


@dataclass
class _Position:
    step: int = 0
    seconds: float = 0.0


def train(stage: Stage, settings: LoopSettings, folder: Path, report: Report | None = None) -> int:
    """Train to the end of the budget; afterwards the stage holds the averaged weights.

    Started several times, by `torchrun` say, it trains in all these processes together; the stage
    is then built on the device that `processes.process_device` gives.  What `settings.sharded`
    shared out stays so: `sharding.whole_state_dict` collects it.

    Args:
        stage: what to train.
        settings: budget and optimisation.
        folder: where `<stage>.checkpoint` and `<stage>.log.jsonl` live; resumed from if present.
            All processes must see the same one.
        report: receives progress about once a second, in the main process.

    Returns:
        The number of optimiser steps made in total.

    Raises:
        InputError: a loss that is not finite, a checkpoint that does not fit the stage, or
            settings that do not fit the machine or the stage.
        KeyboardInterrupt: Ctrl-C or SIGTERM came, in any process; the step was finished and saved
            before.
    """
    run = _Run(stage, settings, folder)
    run.resume()
    if run.progress < 1:
        if isinstance(stage, Foreseeing):
            stage.foresee(run.coming_seeds())
        # Saved only where a step has ended, and after an error not at all: what broke the loss
        # may have broken the weights, and the last checkpoint is whole.
        with interrupts_held() as interruption:
            run.loop(report, interruption)
            run.save()
            # Nobody goes on before the checkpoint is written.
            interruption.arrived = run.processes.any(interruption.arrived)
    run.average.swap()
    return run.at.step


class _Run:
    """The state of one training run, in one of its processes."""

    def __init__(self, stage: Stage, settings: LoopSettings, folder: Path) -> None:
        self.stage, self.settings = stage, settings
        self.path = folder / f"{stage.name}.checkpoint"
        self.log_path = folder / f"{stage.name}.log.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(settings, stage.parameters()[0].device)
        if settings.gradient_checkpointing:
            _recompute(stage)
        if self.processes.sharded:
            shard(stage, self.processes.device)
        self.loss = self.processes.loss_of(stage)
        self.parameters = stage.parameters()
        self.average = WeightAverage(self.parameters, settings.ema_decay)
        self.optimiser = self.processes.optimiser(
            torch.optim.AdamW(
                self.parameters,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                betas=(0.9, 0.99),
                foreach=True,
            )
        )
        self.at = _Position()
        self.smoothed: dict[str, float] = {}

    @property
    def progress(self) -> float:
        """How much of the tighter budget is used, 0 to 1."""
        parts = [0.0]
        if self.settings.budget_seconds is not None:
            parts.append(self.at.seconds / max(self.settings.budget_seconds, 1e-9))
        if self.settings.max_steps is not None:
            parts.append(self.at.step / max(self.settings.max_steps, 1))
        return min(max(parts), 1.0)

    def loop(self, report: Report | None, interruption: Interruption) -> None:
        """Step until the budget is used or an interrupt arrives, saving and reporting meanwhile.

        Time and interrupts are those that all processes agree on, and so is every decision here.
        """
        last = time.monotonic()
        saved = reported = self.at.seconds
        interrupted = False
        while self.progress < 1 and not interrupted:
            self._step()
            now = time.monotonic()
            elapsed = now - last if self.processes.is_main else 0.0
            seconds, arrivals = self.processes.sums([elapsed, float(interruption.arrived)])
            last, interrupted = now, arrivals > 0
            self.at.seconds += seconds
            if self.at.seconds - saved > self.settings.checkpoint_seconds:
                self.save()
                saved = self.at.seconds
            if self.at.seconds - reported > 1 or self.progress >= 1:
                reported = self.at.seconds
                if report is not None and self.processes.is_main:
                    report(self.progress, dict(self.smoothed))
        interruption.arrived |= interrupted

    def _step(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self.optimiser.zero_grad(set_to_none=True)
        values = self.processes.means(self._gradients())
        if not math.isfinite(values["loss"]):
            raise InputError(
                f"the loss of stage {self.stage.name} is {values['loss']} at step {self.at.step}; "
                "lower its learning rate and resume from the last checkpoint"
            )
        self.processes.clip_gradients(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        if not self.optimiser.step_was_skipped:
            self.average.update()
        self.at.step += 1
        self._log(values)

    def _gradients(self) -> dict[str, float]:
        """Compute the gradients of this process's batches; the values to log, averaged."""
        seeds = self._seeds(self.at.step)
        means: dict[str, float] = {}
        for number, seed in enumerate(seeds, start=1):
            generator = torch.Generator().manual_seed(seed)
            with self.processes.gradients_apart(self.loss, number < len(seeds)):
                values = self.loss(generator, self.progress)
                self.processes.backward(values["loss"])
            for name, value in values.items():
                means[name] = means.get(name, 0.0) + value.item() / len(seeds)
        return means

    def coming_seeds(self) -> Iterator[int]:
        """The seeds of this process's batches from the next step on, without end."""
        return (seed for step in count(self.at.step) for seed in self._seeds(step))

    def _seeds(self, step: int) -> list[int]:
        """The seeds of this process's batches of a step: every `count`-th of its batches."""
        path = (self.settings.seed, self.stage.name, step)
        batches = self.settings.gradient_accumulation_steps * self.processes.count
        if batches == 1:
            return [derive_seed(*path)]
        mine = range(self.processes.rank, batches, self.processes.count)
        return [derive_seed(*path, batch) for batch in mine]

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.at.step + 1) / max(self.settings.warmup_steps, 1))
        low = self.settings.final_learning_rate
        cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * self.progress))
        return self.settings.learning_rate * warm * cosine

    def _log(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            old = self.smoothed.get(name, value)
            self.smoothed[name] = old + 0.02 * (value - old)
        if self.at.step % 50 == 0 and self.processes.is_main:
            row = {"step": self.at.step, "seconds": round(self.at.seconds, 1), **self.smoothed}
            with self.log_path.open("a") as log:
                log.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write everything that `resume` needs, the same for any number of processes."""
        state = made_whole(self._state(), keep=self.processes.is_main)
        if self.processes.is_main:
            save_checkpoint(self.path, state)

    def _state(self) -> dict[str, Any]:
        state = {
            "step": self.at.step,
            "seconds": self.at.seconds,
            "smoothed": self.smoothed,
            "weights": [p.detach() for p in self.parameters],
            "average": self.average.average,
            "average_updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }
        scaler = self.processes.scaler
        return state if scaler is None else {**state, "scaler": scaler.state_dict()}

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = load_checkpoint(self.path, mmap=self.processes.count > 1)
        if state is not None:
            self._restore(state)
        if not self.processes.agree(self.at.step):
            raise InputError(
                f"the processes do not see the same {self.path}; give them a folder that all "
                "machines share"
            )

    def _restore(self, state: dict[str, Any]) -> None:
        if state.keys() - {"scaler"} != self._state().keys() - {"scaler"}:
            raise unusable(self.path)
        shapes = [tuple(w.shape) for w in state["weights"]]
        if shapes != [tuple(p.shape) for p in self.parameters]:
            raise InputError(
                f"{self.path} belongs to a stage of another size; "
                "use another folder or delete it to start again"
            )
        with torch.no_grad():
            for live, saved in zip(self.parameters, state["weights"], strict=True):
                live.copy_(share_of(saved, live))
            for average, saved in zip(self.average.average, state["average"], strict=True):
                average.copy_(share_of(saved, average))
        self.average.updates = state["average_updates"]
        moments = state["optimiser"]["state"]
        for number, values in moments.items():
            parameter = self.parameters[number]
            moments[number] = {name: share_of(value, parameter) for name, value in values.items()}
        self.optimiser.load_state_dict(state["optimiser"])
        if self.processes.scaler is not None and "scaler" in state:
            self.processes.scaler.load_state_dict(state["scaler"])
        self.at = _Position(state["step"], state["seconds"])
        self.smoothed = state["smoothed"]


def _recompute(stage: Stage) -> None:
    if not isinstance(stage, Recomputing):
        raise InputError(
            f"the stage {stage.name} cannot compute activations a second time; "
            "train it with gradient_checkpointing off"
        )
    stage.enable_gradient_checkpointing()
