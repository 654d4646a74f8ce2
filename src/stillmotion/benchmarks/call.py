"""One thing that is counted, before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stillmotion.benchmarks.counting import Counts


@dataclass(frozen=True, kw_only=True)
class Call:
    """One thing that is counted."""

    model: str
    """Whose networks are counted."""
    name: str
    title: str
    count: Callable[[], Counts]
    compared_with: str | None = None
    """The name of the model's call that ratios are to."""


@dataclass(frozen=True, kw_only=True)
class CountedCall:
    """A call with what it costs."""

    call: Call
    counts: Counts


def count_calls(
    wanted: Sequence[Call], tick: Callable[[], None] = lambda: None
) -> list[CountedCall]:
    """Count each; `tick` is called after each."""
    found = []
    for call in wanted:
        found.append(CountedCall(call=call, counts=call.count()))
        tick()
    return found
