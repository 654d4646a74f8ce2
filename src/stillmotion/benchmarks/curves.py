"""How seconds and memory grow: with frames, size, steps, clips of one still, and memory plans.

Each curve varies one thing of the model's own clip.  At every point its series take turns, as in
`timing.py`; nothing here is held against anything else, which `contest.py` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from stillmotion.benchmarks.clip_contenders import diffusers_clip, our_clip, our_clips
from stillmotion.benchmarks.contenders import Prepared
from stillmotion.benchmarks.contest import Memory, cuda_memory
from stillmotion.benchmarks.literal_animatezero import literal_prepared
from stillmotion.benchmarks.machine import Machine, machine
from stillmotion.benchmarks.stages import ClipStage
from stillmotion.benchmarks.timing import Quiet, Timing, Watch, interleaved
from stillmotion.errors import InputError
from stillmotion.runtime.memory import PRESETS, is_out_of_memory, peak_bytes

OURS, DIFFUSERS, LITERAL = (
    "AnimateZero by this package", "AnimateDiff by diffusers", "AnimateZero by the letter",
)  # fmt: skip
FRAMES, SIZES, STEPS, CLIPS, MEMORY = "frames", "sizes", "steps", "clips", "memory"
CURVES = (FRAMES, SIZES, STEPS, CLIPS, MEMORY)
"""What is varied."""
_TITLES = {
    FRAMES: "frames of a clip",
    SIZES: "height and width in pixels",
    STEPS: "steps",
    CLIPS: "clips of one still; seconds of each, the drawing shared out",
    MEMORY: "memory plans",
}
_TABLE_ROWS = 32
"""Positions that AnimateDiff has: whoever uses no windows makes no longer clips."""


Maker = Callable[[ClipStage], Prepared]


@dataclass(frozen=True, kw_only=True)
class CurveRules:
    """How curves are measured."""

    device: torch.device
    num_steps: int
    """Where steps are not varied."""
    rounds: int
    warmups: int
    cap_bytes: int | None = None
    """On CUDA: as much memory as the process may take."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One series at one place of a curve."""

    x: float
    name: str
    """Of the place, as tables show it."""
    series: str
    timing: Timing | None
    memory: Memory | None
    why: str = ""
    """Why there is nothing."""
    share: int = 1
    """Clips that were made: seconds are those of all."""

    @property
    def seconds(self) -> float | None:
        """The median, for one clip."""
        return None if self.timing is None else self.timing.median / self.share


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One thing varied."""

    kind: str
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        """What is varied."""
        return _TITLES[self.kind]

    def series(self) -> list[str]:
        """Names in the order of their first points."""
        return list(dict.fromkeys(point.series for point in self.points))

    def of(self, series: str) -> list[Point]:
        """The points of a series that were measured."""
        return [p for p in self.points if p.series == series and p.timing is not None]

    def exponent(self, series: str) -> float | None:
        """p of seconds ~ x^p, fitted over all points; None where there are too few, or no x."""
        if self.kind == MEMORY:
            return None
        measured = ((p.x, p.seconds) for p in self.of(series))
        return growth_exponent([(x, y) for x, y in measured if y])


@dataclass(frozen=True, kw_only=True)
class CurveReport:
    """All curves of one run."""

    model: str
    clip: str
    """That is varied, in words."""
    dtype: torch.dtype
    rules: CurveRules
    machine: Machine
    quiet: Quiet
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What is timed at one place of a curve."""

    x: float
    name: str
    stage: ClipStage
    num_steps: int
    makers: Mapping[str, Maker]
    share: int = 1


def growth_exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The slope of log y over log x by least squares; None with fewer than two places."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    across = sum((x - mean_x) ** 2 for x, _ in logs)
    return float(sum((x - mean_x) * (y - mean_y) for x, y in logs) / across)


def check_places(kind: str, places: Sequence[int]) -> None:
    """Raises InputError for a number that a clip cannot have."""
    for place in places:
        multiple = 8 if kind == SIZES else 1
        if place < 1 or place % multiple:
            wanted = f"a multiple of {multiple}" if multiple > 1 else "a whole number from 1 up"
            raise InputError(f"--{kind} has {place}; give {wanted}.")


def measure_curves(
    model: str,
    stage: ClipStage,
    places: dict[str, Sequence[int]],
    rules: CurveRules,
    tick: Callable[[], None] = lambda: None,
) -> CurveReport:
    """Measure the curves named in `places`, at the numbers given there (none for memory)."""
    watch = Watch()
    with _capped(rules):
        curves = tuple(
            Curve(
                kind=kind,
                points=tuple(
                    point
                    for place in _places(kind, numbers, stage, rules)
                    for point in _measure(place, rules, tick)
                ),
            )
            for kind, numbers in places.items()
        )
    return CurveReport(
        model=model, clip=str(stage.clip), dtype=stage.pipe.unet.dtype, rules=rules,
        machine=machine(rules.device), quiet=watch.report(), curves=curves,
    )  # fmt: skip


def num_curve_ticks(places: dict[str, Sequence[int]]) -> int:
    """How often `measure_curves` calls `tick`."""
    return sum(len(PRESETS) if kind == MEMORY else len(n) for kind, n in places.items())


def _places(
    kind: str, numbers: Sequence[int], stage: ClipStage, rules: CurveRules
) -> Iterator[_Place]:
    if kind == MEMORY:
        for index, (name, plan) in enumerate(PRESETS.items(), start=1):
            makers: dict[str, Maker] = {OURS: partial(our_clip, memory=plan)}
            yield _Place(x=index, name=name, stage=stage, num_steps=rules.num_steps, makers=makers)
    else:
        for number in numbers:
            yield _place(kind, number, stage, rules.num_steps)


def _place(kind: str, number: int, stage: ClipStage, num_steps: int) -> _Place:
    """Where a curve has this number."""
    clip, share = stage.clip, 1
    makers: dict[str, Maker] = {OURS: our_clip, **_others(stage.clip.num_frames)}
    if kind == FRAMES:
        clip = replace(clip, num_frames=number)
        makers = {OURS: our_clip, **_others(number)}
    elif kind == SIZES:
        clip = replace(clip, height=number, width=number)
    elif kind == STEPS:
        num_steps = number
    else:
        share, makers = number, {OURS: partial(our_clips, count=number)}
    return _Place(
        x=number, name=str(number), stage=replace(stage, clip=clip), num_steps=num_steps,
        makers=makers, share=share,
    )  # fmt: skip


def _others(num_frames: int) -> dict[str, Maker]:
    """Those beside ours, as far as they can make so many frames."""
    known: dict[str, Maker] = {DIFFUSERS: diffusers_clip, LITERAL: literal_prepared}
    return known if num_frames <= _TABLE_ROWS else dict.fromkeys(known, _too_long)


def _too_long(stage: ClipStage) -> Prepared:
    raise InputError(f"has positions for {_TABLE_ROWS} frames only")


def _measure(place: _Place, rules: CurveRules, tick: Callable[[], None]) -> list[Point]:
    ready: dict[str, Prepared] = {}
    why: dict[str, str] = {}
    memory: dict[str, Memory] = {}
    for series, make in place.makers.items():
        try:
            ready[series] = make(place.stage)
            memory[series] = _memory(ready[series], rules.device)
        except InputError as error:
            why[series] = str(error)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            why[series] = "not enough memory"
            ready.pop(series, None)
    runs = {name: partial(one.run, place.num_steps) for name, one in ready.items()}
    timings = interleaved(runs, rounds=rules.rounds, warmups=rules.warmups, device=rules.device)
    tick()
    return [
        Point(
            x=place.x, name=place.name, series=series, timing=timings.get(series),
            memory=memory.get(series), why=why.get(series, ""), share=place.share,
        )
        for series in place.makers
    ]  # fmt: skip


def _memory(ready: Prepared, device: torch.device) -> Memory:
    """Of a run of a single step, which needs as much as one of many."""
    if device.type == "cuda":
        return cuda_memory(ready, device)
    return Memory(weights=ready.weight_bytes, made=peak_bytes(partial(ready.run, 1)))


class _capped:
    """For the length of a block, let the process take no more memory of the device."""

    def __init__(self, rules: CurveRules) -> None:
        self._rules = rules

    def __enter__(self) -> None:
        self._set(self._rules.cap_bytes)

    def __exit__(self, *error: object) -> None:
        self._set(None)

    def _set(self, cap: int | None) -> None:
        device = self._rules.device
        if device.type != "cuda" or self._rules.cap_bytes is None:
            return
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if cap is None else cap / total, device)
