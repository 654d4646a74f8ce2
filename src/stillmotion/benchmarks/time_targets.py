"""What the times should be, and whether they are; what cannot be measured here says how it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stillmotion.benchmarks.arenas import FULL_SIZE, MINIATURE
from stillmotion.benchmarks.attention_contenders import ATTENTION, POOL
from stillmotion.benchmarks.attention_contenders import OURS as OUR_ATTENTION
from stillmotion.benchmarks.clip_contenders import (
    ANIMATEDIFF,
    ANIMATEZERO,
    DIFFUSERS,
    LITERAL,
    OURS,
    OURS_8BIT,
    OURS_COMPILED,
    OURS_FEW_STEPS,
    OURS_SEQUENTIAL,
)
from stillmotion.benchmarks.command_contenders import COMMANDS, DRAW_AND_ANIMATE, HELP
from stillmotion.benchmarks.time_report import TimeReport
from stillmotion.benchmarks.video_contenders import OURS as OUR_VIDEO
from stillmotion.benchmarks.video_contenders import OURS_COMPILED as OUR_VIDEO_COMPILED

Place = Literal["any", "cpu", "cuda"]
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class TimeTarget:
    """A number that a measurement should reach."""

    what: str
    limit: float
    unit: str
    at_least: bool = False
    """Whether more is better."""
    models: tuple[str, ...]
    place: Place = "any"
    groups: tuple[str, ...]
    """That have to be measured."""
    num_steps: int | None = None
    """Of the clip that is meant, if it matters."""
    found: Callable[[TimeReport], float | None]


@dataclass(frozen=True, kw_only=True)
class TimeVerdict:
    """A target, and what was found."""

    target: TimeTarget
    found: float | None
    command: str
    """What measures it."""
    why: str = ""
    """Why nothing was found."""

    @property
    def holds(self) -> bool | None:
        """Whether the target is reached; None if it was not measured."""
        if self.found is None:
            return None
        limit = self.target.limit
        return self.found >= limit if self.target.at_least else self.found <= limit


def _seconds(group: str, *names: str) -> Callable[[TimeReport], float | None]:
    """The shortest median of some contenders."""

    def found(report: TimeReport) -> float | None:
        results = report.results_with(group)
        medians = [results.median(name) for name in names] if results else []
        return min((each for each in medians if each is not None), default=None)

    return found


def _ratio(
    over: Callable[[TimeReport], float | None], under: Callable[[TimeReport], float | None]
) -> Callable[[TimeReport], float | None]:
    def found(report: TimeReport) -> float | None:
        above, below = over(report), under(report)
        return None if above is None or below is None else above / below

    return found


def _gib(name: str) -> Callable[[TimeReport], float | None]:
    def found(report: TimeReport) -> float | None:
        results = report.results_with(ANIMATEZERO)
        outcome = results.of(name) if results else None
        memory = outcome.memory if outcome else None
        return memory.total / _GIB if memory else None

    return found


_OURS = _seconds(ANIMATEZERO, OURS, OURS_COMPILED)
_BOTH = (MINIATURE, FULL_SIZE)

TARGETS: tuple[TimeTarget, ...] = (
    TimeTarget(
        what="AnimateZero, still and decoding included, to diffusers' eager AnimateDiff alone",
        limit=1.0, unit="times as long", models=_BOTH, groups=(ANIMATEDIFF, ANIMATEZERO),
        found=_ratio(_OURS, _seconds(ANIMATEDIFF, DIFFUSERS)),
    ),
    TimeTarget(
        what="AnimateZero to its literal form, on a GPU", limit=1.8, unit="times faster",
        at_least=True, models=(FULL_SIZE,), place="cuda", groups=(ANIMATEZERO,),
        found=_ratio(_seconds(ANIMATEZERO, LITERAL), _OURS),
    ),
    TimeTarget(
        what="window attention to the literal pool, on a CPU", limit=5.0, unit="times faster",
        at_least=True, models=_BOTH, place="cpu", groups=(ATTENTION,),
        found=_ratio(_seconds(ATTENTION, POOL), _seconds(ATTENTION, OUR_ATTENTION)),
    ),
    TimeTarget(
        what="AnimateZero, 16 x 512 x 512, 25 steps, everything included, on an H200",
        limit=2.0, unit="s", models=(FULL_SIZE,), place="cuda", groups=(ANIMATEZERO,),
        num_steps=25, found=_OURS,
    ),
    TimeTarget(
        what="the same with a module for 4 steps without guidance, on an H200", limit=0.25,
        unit="s", models=(FULL_SIZE,), place="cuda", groups=(ANIMATEZERO,),
        found=_seconds(ANIMATEZERO, OURS_FEW_STEPS),
    ),
    *(
        TimeTarget(
            what=f"DynamiCrafter {size}, 50 steps, on an H200", limit=limit, unit="s",
            models=(FULL_SIZE,), place="cuda", groups=(f"dynamicrafter-{size}",), num_steps=50,
            found=_seconds(f"dynamicrafter-{size}", OUR_VIDEO, OUR_VIDEO_COMPILED),
        )
        for size, limit in ((1024, 11.0), (512, 2.7), (256, 1.0))
    ),
    *(
        TimeTarget(
            what=f"memory of AnimateZero, 16 x 512 x 512, {how}", limit=limit, unit="GiB",
            models=(FULL_SIZE,), place="cuda", groups=(ANIMATEZERO,), found=_gib(name),
        )
        for name, how, limit in (
            (OURS, "both halves of guidance at once", 5.5),
            (OURS_SEQUENTIAL, "guidance in sequence", 4.5),
            (OURS_8BIT, "weights in 8 bits", 3.3),
        )
    ),
    TimeTarget(
        what="the miniature on 2 cores, draw and animate from the shell", limit=10.0, unit="s",
        models=(MINIATURE,), groups=(COMMANDS,), found=_seconds(COMMANDS, DRAW_AND_ANIMATE),
    ),
    TimeTarget(
        what="stillmotion --help", limit=0.4, unit="s", models=_BOTH, groups=(COMMANDS,),
        found=_seconds(COMMANDS, HELP),
    ),
)  # fmt: skip
"""In the order of the reports."""


def time_verdicts(report: TimeReport) -> list[TimeVerdict]:
    """On every target."""
    return [_verdict(target, report) for target in TARGETS]


def _verdict(target: TimeTarget, report: TimeReport) -> TimeVerdict:
    command = _command(target, report.model)
    why = _why_not(target, report)
    if why:
        return TimeVerdict(target=target, found=None, command=command, why=why)
    found = target.found(report)
    why = "" if found is not None else "it was left out, or could not be timed"
    return TimeVerdict(target=target, found=found, command=command, why=why)


def _why_not(target: TimeTarget, report: TimeReport) -> str:
    """Why a report cannot say anything about a target; empty if it can."""
    here = report.rules.device.type
    if target.place not in ("any", here):
        return "needs a GPU" if target.place == "cuda" else "is measured on a CPU"
    if report.model not in target.models:
        return f"is measured with the model {target.models[0]}"
    results = [report.results_with(group) for group in target.groups]
    if target.num_steps and any(r and r.arena.num_steps != target.num_steps for r in results):
        return f"is measured with {target.num_steps} steps"
    return ""


def _command(target: TimeTarget, model: str) -> str:
    chosen = model if model in target.models else target.models[0]
    parts = ["stillmotion bench time", f"--model {chosen}"]
    parts += [f"--only {group}" for group in target.groups]
    if target.place != "any":
        parts.append(f"--device {target.place}")
    return " ".join(parts)
