"""The exact savings of this package, switched on one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from stillmotion.adapters.lean_savings import Savings
from stillmotion.benchmarks.contenders import Contender, Prepared

UNSAVED, SAVING = "ours-no-saving", "saving-"
"""Without all savings, and what the names of the other rungs begin with."""


def rungs() -> Iterator[tuple[str, Savings]]:
    """Savings with the name of the last one that is on, from the first to the last but one.

    With all of them on it is the package as it comes.
    """
    on = Savings.none()
    for name in [one.name for one in fields(Savings)][:-1]:
        on = replace(on, **{name: True})
        yield name, on


def saving_contenders(
    prepare: Callable[..., Prepared], group: str, reference: str
) -> list[Contender]:
    """This package without any saving, held against `reference`; then one more at each rung.

    `prepare` takes the pipeline's options as `extras`.
    """

    def ready(savings: Savings) -> Callable[[Any], Prepared]:
        extras: Mapping[str, Any] = {"savings": savings}
        return partial(prepare, extras=extras)

    bottom = Contender(
        name=UNSAVED, title="this package, no saving", group=group, label="exact",
        against=reference, prepare=ready(Savings.none()),
    )  # fmt: skip
    return [
        bottom,
        *(
            Contender(
                name=f"{SAVING}{name}", title=f"... and with {name}", group=group, label="exact",
                against=UNSAVED, prepare=ready(savings),
            )
            for name, savings in rungs()
        ),
    ]  # fmt: skip
