"""What the commands of `stillmotion bench` have in common: rules, and files of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillmotion.errors import InputError, OutputError
from stillmotion.jobs.outputs import check_file_output

if TYPE_CHECKING:
    import torch

    from stillmotion.benchmarks.contest import Rules
    from stillmotion.benchmarks.curves import CurveRules

_LIGHT_GROUPS = frozenset({"attention", "commands"})
"""That a CPU can time at full size, too."""
_SIZES = {"miniature": "32,64,96,128", "full-size": "256,512,768,1024"}


@dataclass(frozen=True)
class Files:
    """Where a report goes: NAME.md, NAME.json and NAME-*.svg, or nowhere.

    Raises OutputError, before anything is measured, for what cannot be written.
    """

    output: Path | None
    overwrite: bool
    plots: dict[str, str] = field(default_factory=dict)
    """File names by what is shown, once they are checked."""

    def __post_init__(self) -> None:
        if self.output is None:
            return
        if self.output.suffix.lower() != ".md":
            raise OutputError(f"'{self.output}' cannot hold the tables; use the ending .md.")
        for path in (self.output, self.output.with_suffix(".json")):
            check_file_output(path, overwrite=self.overwrite)

    def check_plots(self, names: Sequence[str]) -> None:
        """That a plot of each of these can be written.  Raises OutputError as above."""
        if self.output is None:
            return
        for name in names:
            path = self.output.with_name(f"{self.output.stem}-{name}.svg")
            check_file_output(path, overwrite=self.overwrite)
            self.plots[name] = path.name

    def write(self, text: str, facts: object, plots: Mapping[str, str]) -> None:
        """Write all files, each whole or not at all."""
        from stillmotion.runtime.files import atomic_path, write_json

        if self.output is None:
            return
        for name, picture in plots.items():
            with atomic_path(self.output.with_name(self.plots[name]), overwrite=True) as file:
                file.write_text(picture, encoding="utf-8")
        write_json(self.output.with_suffix(".json"), facts)
        with atomic_path(self.output, overwrite=self.overwrite) as file:
            file.write_text(text + "\n", encoding="utf-8")


def chosen_device(name: str, model: str, only: Sequence[str]) -> torch.device:
    """The device to time on.

    Raises InputError if there is none such, for an unknown model, or for networks of full size on
    a CPU.
    """
    from stillmotion.benchmarks.arenas import FULL_SIZE, check
    from stillmotion.runtime.system import choose_device

    check(model, [] if "curves" in only else only)
    device = choose_device(name)
    is_light = bool(only) and set(only) <= _LIGHT_GROUPS
    if model == FULL_SIZE and device.type == "cpu" and not is_light:
        raise InputError(
            "A clip by networks of full size takes hours on a CPU; choose a GPU with --device, "
            f"--model miniature, or with `bench time` --only {' or '.join(sorted(_LIGHT_GROUPS))}."
        )
    return device


def rules_on(device: torch.device, rounds: int | None, warmups: int | None) -> Rules:
    """How a contest is held there."""
    from stillmotion.benchmarks.arenas import timed_dtype
    from stillmotion.benchmarks.contest import Rules

    return Rules(device=device, dtype=timed_dtype(device), **_turns(device, rounds, warmups))


def curve_rules(
    device: torch.device,
    rounds: int | None,
    warmups: int | None,
    steps: int | None,
    cap_gib: float | None,
) -> CurveRules:
    """How curves are measured there.  Raises InputError for a cap where none can be set."""
    from stillmotion.benchmarks.curves import CurveRules

    is_cuda = device.type == "cuda"
    if cap_gib is not None and not is_cuda:
        raise InputError(f"--cap is {cap_gib:g}; memory can be capped on a CUDA device only.")
    return CurveRules(
        device=device,
        num_steps=steps or (25 if is_cuda else 4),
        cap_bytes=None if cap_gib is None else round(cap_gib * 2**30),
        **_turns(device, rounds, warmups),
    )


def curve_places(
    only: Sequence[str], given: Mapping[str, str | None], model: str
) -> dict[str, Sequence[int]]:
    """The numbers of each curve that is wanted.  Raises InputError for what is none."""
    from stillmotion.benchmarks.curves import CURVES, check_places

    for kind in only:
        if kind not in CURVES:
            raise InputError(f"There is no curve {kind!r}; there are {', '.join(CURVES)}.")
    found: dict[str, Sequence[int]] = {}
    for kind in CURVES:
        if not only or kind in only:
            words = given.get(kind) or (_SIZES[model] if kind == "sizes" else "")
            found[kind] = _numbers(kind, words)
            check_places(kind, found[kind])
    return found


def _numbers(kind: str, words: str) -> list[int]:
    try:
        return sorted({int(word) for word in words.split(",") if word.strip()})
    except ValueError:
        raise InputError(
            f"--{kind} is '{words}'; give whole numbers with commas between them, such as 16,32."
        ) from None


def _turns(device: torch.device, rounds: int | None, warmups: int | None) -> dict[str, Any]:
    is_cuda = device.type == "cuda"
    return {
        "rounds": rounds or (10 if is_cuda else 5),
        "warmups": (3 if is_cuda else 1) if warmups is None else warmups,
    }
