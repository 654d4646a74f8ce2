"""Seconds, measured side by side: interleaved rounds, medians and spread, the first call apart.

A machine is never quite quiet, and grows warm.  So contenders take turns within every round, in
an order that turns round from one round to the next (A B C, C B A, ...): what disturbs a round
disturbs all, and a slow drift falls on all alike.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

UNQUIET_SHARE = 0.1
"""Of the CPU time, used by other programs: more, and times are not to be trusted."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The seconds of one contender."""

    seconds: tuple[float, ...]
    """Of each round, in order."""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third; of one round, that round."""
        if len(self.seconds) < 2:
            return self.seconds[0], self.seconds[0]
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    @property
    def spread(self) -> float:
        """Distance of the quartiles, as a share of the median."""
        first, third = self.quartiles
        return (third - first) / self.median if self.median else 0.0


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmups: int,
    device: torch.device,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time every one of `runs` once in each of `rounds` rounds, after `warmups` that do not count.

    `tick` is called after every call.  A device that works on its own is waited for before and
    after each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-warmups, rounds):
        names = list(runs)
        for name in names if number % 2 == 0 else reversed(names):
            taken = stopwatch(runs[name], device)
            if number >= 0:
                seconds[name].append(taken)
            tick()
    return {name: Timing(seconds=tuple(values)) for name, values in seconds.items()}


def stopwatch(run: Callable[[], object], device: torch.device) -> float:
    """Seconds that one call takes until its work is done."""
    synchronise(device)
    start = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How much other programs disturbed a measurement; None where the system does not tell."""

    load_before: float | None
    """Processes that wanted to run, on average over the minute before."""
    load_after: float | None
    others_share: float | None
    """Of all CPU time during the measurement, what other programs used."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing speaks against the times."""
        return self.others_share is None or self.others_share <= UNQUIET_SHARE


class Watch:
    """Notes how busy the machine is from its making to `report`."""

    def __init__(self) -> None:
        self._load = _load()
        self._machine, self._own = _machine_seconds(), _own_seconds()
        self._start = time.perf_counter()

    def report(self) -> Quiet:
        """What there was beside this process and its children."""
        share = None
        machine = _machine_seconds()
        if machine is not None and self._machine is not None:
            others = (machine - self._machine) - (_own_seconds() - self._own)
            available = (time.perf_counter() - self._start) * (os.cpu_count() or 1)
            share = min(1.0, max(0.0, others / available)) if available else 0.0
        return Quiet(load_before=self._load, load_after=_load(), others_share=share)


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _own_seconds() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _machine_seconds() -> float | None:
    """CPU seconds that all processors have been busy since the start; None if not told."""
    if sys.platform != "linux":
        return None
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = map(int, first)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
