"""One training loop for every stage.

A stage says what is trained and what a batch's loss is; the loop does the rest: time or step
budget, learning-rate schedule over that budget, gradient clipping, EMA, checkpoints, logging,
resuming.  Batches are functions of (seed, step), so resuming needs no data position: the run
goes on as if it had never stopped, but for the seconds since the last checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.checkpoint import load_checkpoint, save_checkpoint, unusable
from stillmotion.training.ema import WeightAverage
from stillmotion.training.interrupts import Interruption, interrupts_held


class Stage(Protocol):
    """What the loop trains."""

    name: str

    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters, in a fixed order."""
        ...

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """One batch drawn with `generator`: scalars to log, of which "loss" is minimised.

        `progress` runs from 0 to 1 over the budget.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how to optimise.  At least one of the two budgets must be given."""

    budget_seconds: float | None = None
    max_steps: int | None = None
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.02
    """Last learning rate as a part of the first; a half cosine leads there."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    checkpoint_seconds: float = 30.0
    seed: int = 0
    bfloat16: bool = True
    """Mixed precision; weights and optimiser stay in float32."""

    def __post_init__(self) -> None:
        if self.budget_seconds is None and self.max_steps is None:
            raise InputError("a stage needs a time budget or a number of steps; neither was given")


Report = Callable[[float, dict[str, float]], None]
"""Called now and then with the progress (0 to 1) and smoothed values to show."""


@dataclass
class _Position:
    step: int = 0
    seconds: float = 0.0


def train(stage: Stage, settings: LoopSettings, folder: Path, report: Report | None = None) -> int:
    """Train to the end of the budget; afterwards the stage holds the averaged weights.

    Args:
        stage: what to train.
        settings: budget and optimisation.
        folder: where `<stage>.checkpoint` and `<stage>.log.jsonl` live; resumed from if present.
        report: receives progress about once a second.

    Returns:
        The number of optimiser steps made in total.

    Raises:
        InputError: a loss that is not finite, or a checkpoint that does not fit the stage.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the step was finished and saved before.
    """
    run = _Run(stage, settings, folder)
    run.resume()
    if run.progress < 1:
        # Saved only where a step has ended, and after an error not at all: what broke the loss
        # may have broken the weights, and the last checkpoint is whole.
        with interrupts_held() as interruption:
            run.loop(report, interruption)
            run.save()
    run.average.swap()
    return run.at.step


class _Run:
    """The state of one training run."""

    def __init__(self, stage: Stage, settings: LoopSettings, folder: Path) -> None:
        self.stage, self.settings = stage, settings
        self.path = folder / f"{stage.name}.checkpoint"
        self.log_path = folder / f"{stage.name}.log.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.parameters = stage.parameters()
        self.average = WeightAverage(self.parameters, settings.ema_decay)
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.99),
            foreach=True,
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
        """Step until the budget is used or an interrupt arrives, saving and reporting meanwhile."""
        last = saved = reported = time.monotonic()
        while self.progress < 1 and not interruption.arrived:
            self._step()
            now = time.monotonic()
            self.at.seconds += now - last
            last = now
            if now - saved > self.settings.checkpoint_seconds:
                self.save()
                saved = now
            if now - reported > 1 or self.progress >= 1:
                reported = now
                if report is not None:
                    report(self.progress, dict(self.smoothed))

    def _step(self) -> None:
        generator = torch.Generator().manual_seed(
            derive_seed(self.settings.seed, self.stage.name, self.at.step)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        with self._autocast():
            values = self.stage.loss(generator, self.progress)
        loss = values["loss"]
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss of stage {self.stage.name} is {loss.item()} at step {self.at.step}; "
                "lower its learning rate and resume from the last checkpoint"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.optimiser.step()
        self.average.update()
        self.at.step += 1
        self._log(values)

    def _autocast(self) -> Any:
        if not self.settings.bfloat16:
            return nullcontext()
        return torch.autocast(self.parameters[0].device.type, dtype=torch.bfloat16)

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.at.step + 1) / max(self.settings.warmup_steps, 1))
        low = self.settings.final_learning_rate
        cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * self.progress))
        return self.settings.learning_rate * warm * cosine

    def _log(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            old = self.smoothed.get(name, value.item())
            self.smoothed[name] = old + 0.02 * (value.item() - old)
        if self.at.step % 50 == 0:
            row = {"step": self.at.step, "seconds": round(self.at.seconds, 1), **self.smoothed}
            with self.log_path.open("a") as log:
                log.write(json.dumps(row) + "\n")

    def save(self) -> None:
        """Write everything that `resume` needs."""
        save_checkpoint(self.path, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.at.step,
            "seconds": self.at.seconds,
            "smoothed": self.smoothed,
            "weights": [p.detach() for p in self.parameters],
            "average": self.average.average,
            "average_updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        state = load_checkpoint(self.path)
        if state is None:
            return
        if state.keys() != self._state().keys():
            raise unusable(self.path)
        shapes = [tuple(w.shape) for w in state["weights"]]
        if shapes != [tuple(p.shape) for p in self.parameters]:
            raise InputError(
                f"{self.path} belongs to a stage of another size; "
                "use another folder or delete it to start again"
            )
        with torch.no_grad():
            for live, saved in zip(self.parameters, state["weights"], strict=True):
                live.copy_(saved)
            for average, saved in zip(self.average.average, state["average"], strict=True):
                average.copy_(saved)
        self.average.updates = state["average_updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.at = _Position(state["step"], state["seconds"])
        self.smoothed = state["smoothed"]
