"""One arena: parity first, then what cannot be timed is set aside, then seconds side by side."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from stillmotion.benchmarks.contenders import Arena, Contender, Made, Prepared
from stillmotion.benchmarks.counting import Counts, counted
from stillmotion.benchmarks.parity import (
    STEPS,
    TOLERANCE,
    Likeness,
    Parity,
    is_finite,
    likeness,
    parity,
)
from stillmotion.benchmarks.timing import Timing, interleaved, stopwatch

Status = Literal["timed", "differs", "missing", "failed"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a contest is held."""

    device: torch.device
    dtype: torch.dtype
    """In which it is timed; parity is checked in float32."""
    rounds: int
    warmups: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the peak of a run."""

    weights: int
    made: int
    """Alive at once of what the run made: counted on a CPU, the allocator's on CUDA."""
    reserved: int | None = None
    """Weights, and what the allocator of CUDA took from the device."""

    @property
    def total(self) -> int:
        """Weights and all that was made."""
        return self.weights + self.made


@dataclass(kw_only=True)
class Outcome:
    """What became of one contender."""

    contender: Contender
    status: Status = "timed"
    why: str = ""
    """A sentence, where it was not timed."""
    parity: Parity | None = None
    likeness: Likeness | None = None
    first_seconds: float | None = None
    """Of the very first call, of `parity.STEPS` steps, with all that a compiler does."""
    timing: Timing | None = None
    memory: Memory | None = None
    counts: Counts | None = None
    """Of one whole run."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Of one arena, in the order of its contenders."""

    arena: Arena
    outcomes: tuple[Outcome, ...]

    def of(self, name: str) -> Outcome | None:
        """The outcome of a contender, if it took part."""
        return next((one for one in self.outcomes if one.contender.name == name), None)

    def median(self, name: str) -> float | None:
        """Seconds of a contender, if it was timed."""
        found = self.of(name)
        return found.timing.median if found is not None and found.timing is not None else None

    def counts_for(self, outcome: Outcome) -> Counts | None:
        """Its own counts; where a compiler hides them, those of whom it is held against."""
        if outcome.counts is None and outcome.contender.against:
            other = self.of(outcome.contender.against)
            return other.counts if other is not None else None
        return outcome.counts


def num_ticks(arena: Arena, rules: Rules) -> int:
    """How often `hold` calls `tick`."""
    exams = 1 + int(rules.dtype != torch.float32)
    return len(arena.contenders) * (exams + 1 + rules.warmups + rules.rounds)


def hold(arena: Arena, rules: Rules, tick: Callable[[], None] = lambda: None) -> Results:
    """Check that contenders make the same thing, then time those that do.

    A contender that cannot run, fails, or makes something else is reported and never timed.
    """
    return _Contest(arena, rules, tick).results()


@dataclass
class _Contest:
    arena: Arena
    rules: Rules
    tick: Callable[[], None]
    _ready: dict[str, Prepared] = field(default_factory=dict)

    def results(self) -> Results:
        outcomes = [Outcome(contender=one) for one in self.arena.contenders]
        with _no_shortcuts():
            self._examine(outcomes)
        if self.rules.dtype != torch.float32:
            self._prepare_again(outcomes)
        self._look_inside(outcomes)
        self._time(outcomes)
        return Results(arena=self.arena, outcomes=tuple(outcomes))

    def _examine(self, outcomes: list[Outcome]) -> None:
        """First calls in float32, each held against its reference's."""
        stage = self.arena.build(torch.float32)
        known: dict[str, Made] = {}
        keeps = self.rules.dtype == torch.float32
        for one in outcomes:
            made = self._first_call(one, stage, keeps=keeps)
            if made is not None:
                name, against = one.contender.name, one.contender.against
                known[name] = Made(latents=made.latents.detach().cpu())
                if one.contender.label == "exact" and against:
                    _judge(one, made, known.get(against), against)
            self.tick()
        self._drop_unfit(outcomes)

    def _prepare_again(self, outcomes: list[Outcome]) -> None:
        """The same in the precision that is timed."""
        stage = self.arena.build(self.rules.dtype)
        for one in outcomes:
            if one.status == "timed":
                self._first_call(one, stage, keeps=True)
            self.tick()
        self._drop_unfit(outcomes)

    def _first_call(self, one: Outcome, stage: Any, *, keeps: bool) -> Made | None:
        """What its first call made, or None if there was none to be had."""
        contender, device = one.contender, self.rules.device
        if contender.needs_gpu and device.type != "cuda":
            one.status, one.why = "missing", "needs a CUDA device"
            return None
        if contender.missing:
            one.status, one.why = "missing", contender.missing
            return None
        found: list[Made] = []
        try:
            ready = contender.prepare(stage)
            one.first_seconds = stopwatch(lambda: found.append(ready.run(STEPS)), device)
        except Exception as error:
            # Whatever it is, it is told in the report, and the others go on.
            one.status, one.why = "failed", _first_line(error)
            return None
        if not is_finite(found[0].latents):
            one.status, one.why = "failed", "made numbers that are not finite"
            return None
        if keeps:
            self._ready[contender.name] = ready
        return found[0]

    def _drop_unfit(self, outcomes: list[Outcome]) -> None:
        for one in outcomes:
            if one.status != "timed":
                self._ready.pop(one.contender.name, None)
        gc.collect()
        if self.rules.device.type == "cuda":
            torch.cuda.empty_cache()

    def _look_inside(self, outcomes: list[Outcome]) -> None:
        """Whole runs that are not timed: what they cost, and how like approximations are."""
        made: dict[str, Made] = {}
        for one in outcomes:
            contender = one.contender
            if one.status == "timed":
                looked = self._count(one)
                made.update({} if looked is None else {contender.name: looked})
            exact = made.get(contender.against or "")
            if contender.label == "approximate" and exact and contender.name in made:
                one.likeness = likeness(made[contender.name], exact, str(contender.against))
            self.tick()

    def _count(self, one: Outcome) -> Made | None:
        """What a whole run makes; None if there is nothing to count, nor to compare."""
        contender, device, steps = one.contender, self.rules.device, self.arena.num_steps
        ready = self._ready[contender.name]
        if device.type == "cuda":
            one.memory = cuda_memory(ready, device)
        if not contender.is_counted:
            return ready.run(steps) if contender.label == "approximate" else None
        made, one.counts = counted(lambda: ready.run(steps), device)
        if one.memory is None:
            one.memory = Memory(weights=ready.weight_bytes, made=one.counts.peak_bytes)
        return made

    def _time(self, outcomes: list[Outcome]) -> None:
        steps = self.arena.num_steps
        fit = [one for one in outcomes if one.status == "timed"]
        runs = {
            one.contender.name: (lambda ready=self._ready[one.contender.name]: ready.run(steps))
            for one in fit
        }
        timings = interleaved(
            runs, rounds=self.rules.rounds, warmups=self.rules.warmups, device=self.rules.device,
            tick=self.tick,
        )  # fmt: skip
        for one in fit:
            one.timing = timings[one.contender.name]
        for _ in range((len(outcomes) - len(fit)) * (self.rules.rounds + self.rules.warmups)):
            self.tick()


def _judge(one: Outcome, made: Made, reference: Made | None, against: str) -> None:
    if reference is None:
        one.status, one.why = "differs", f"there is no result of '{against}' to hold it against"
        return
    one.parity = parity(made, reference, against)
    if not one.parity.holds:
        one.status = "differs"
        one.why = (
            f"its result differs from that of '{against}' by up to {one.parity.max_error:.2g} of "
            f"the deviation; {TOLERANCE:g} is allowed"
        )


def cuda_memory(ready: Prepared, device: torch.device) -> Memory:
    """Of a run of a few steps; what else lies on the device, of other contenders, is left out."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    stopwatch(lambda: ready.run(STEPS), device)
    weights = ready.weight_bytes
    return Memory(
        weights=weights,
        made=torch.cuda.max_memory_allocated(device) - before,
        reserved=weights + torch.cuda.max_memory_reserved(device) - held,
    )


class _no_shortcuts:
    """For the length of a block, let CUDA compute float32 products in float32, not in TF32."""

    def __enter__(self) -> None:
        self._before = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *error: object) -> None:
        matmul, cudnn = self._before
        torch.backends.cuda.matmul.allow_tf32 = matmul
        torch.backends.cudnn.allow_tf32 = cudnn


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no more is said'}"
