"""One whole measurement of time: all arenas of a model, calibrated in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from stillmotion.benchmarks.calibration import Ceilings, calibrate
from stillmotion.benchmarks.command_contenders import COMMANDS
from stillmotion.benchmarks.contenders import Arena
from stillmotion.benchmarks.contest import Results, Rules, hold, num_ticks
from stillmotion.benchmarks.machine import Machine, machine
from stillmotion.benchmarks.timing import Quiet, Watch


@dataclass(frozen=True, kw_only=True)
class TimeReport:
    """What was measured, and on what."""

    model: str
    rules: Rules
    machine: Machine
    quiet: Quiet
    ceilings: Ceilings
    results: tuple[Results, ...]

    def results_with(self, group: str) -> Results | None:
        """The results of the arena in which a group took part."""
        for results in self.results:
            if any(one.contender.group == group for one in results.outcomes):
                return results
        return None


def total_ticks(arenas: Sequence[Arena], rules: Rules) -> int:
    """How often `measure` calls `tick`."""
    return sum(num_ticks(arena, rules_for(arena, rules)) for arena in arenas) + 2


def measure(
    model: str, arenas: Sequence[Arena], rules: Rules, tick: Callable[[], None] = lambda: None
) -> TimeReport:
    """Hold every arena, and calibrate before and after: the better of both counts."""
    watch = Watch()
    ceilings = calibrate(rules.device, rules.dtype)
    tick()
    results = tuple(hold(arena, rules_for(arena, rules), tick) for arena in arenas)
    ceilings = ceilings.better_of(calibrate(rules.device, rules.dtype))
    tick()
    return TimeReport(
        model=model,
        rules=rules,
        machine=machine(rules.device),
        quiet=watch.report(),
        ceilings=ceilings,
        results=results,
    )


def rules_for(arena: Arena, rules: Rules) -> Rules:
    """Commands have no precision to choose, and need no second preparation."""
    if arena.name != COMMANDS:
        return rules
    cpu, warmups = torch.device("cpu"), min(1, rules.warmups)
    return replace(rules, device=cpu, dtype=torch.float32, warmups=warmups)
