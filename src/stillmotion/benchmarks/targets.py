"""What the counts of a guided call should be, and whether they are.

The call: AnimateZero's networks at full size, 16 frames of 512 x 512, both halves of guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stillmotion.benchmarks.call import CountedCall
from stillmotion.benchmarks.counting import Tally
from stillmotion.benchmarks.full_size import (
    ANIMATEZERO,
    BESIDE,
    CONTROLLED,
    DIFFUSERS,
    LOCKSTEP,
    PLAIN,
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A number that a call should not exceed."""

    call: str
    """Its name, of the model `ANIMATEZERO`."""
    quantity: Literal["TFLOP", "bytes, of diffusers'"]
    limit: float


TARGETS: tuple[Target, ...] = (
    Target(call=PLAIN, quantity="TFLOP", limit=35.5),
    Target(call=CONTROLLED, quantity="TFLOP", limit=34.1),
    Target(call=LOCKSTEP, quantity="TFLOP", limit=35.7),
    Target(call=BESIDE, quantity="TFLOP", limit=35.7),
    *(
        Target(call=call, quantity="bytes, of diffusers'", limit=0.75)
        for call in (PLAIN, CONTROLLED, LOCKSTEP, BESIDE)
    ),
)
"""At most the FLOPs that are left when nothing is computed twice, and a quarter fewer bytes than
diffusers moves for AnimateDiff."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A target, and what was found."""

    target: Target
    title: str
    """Of the call."""
    found: float

    @property
    def holds(self) -> bool:
        """Whether the target is reached."""
        return self.found <= self.target.limit


def verdicts(found: Sequence[CountedCall]) -> list[Verdict]:
    """On every target; none if AnimateZero's calls were not counted."""
    known = {one.call.name: one for one in found if one.call.model == ANIMATEZERO}
    if DIFFUSERS not in known:
        return []
    baseline = known[DIFFUSERS].counts.total
    return [
        Verdict(
            target=target,
            title=known[target.call].call.title,
            found=_found(target, known[target.call].counts.total, baseline),
        )
        for target in TARGETS
        if target.call in known
    ]


def _found(target: Target, total: Tally, baseline: Tally) -> float:
    if target.quantity == "TFLOP":
        return total.flops / 1e12
    return total.bytes_moved / baseline.bytes_moved
