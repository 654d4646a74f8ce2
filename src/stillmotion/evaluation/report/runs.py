"""Runs as reports read them: the samples that belong to the manifest, and what fits what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder, Sample


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder that was read."""

    path: Path
    label: str = ""
    """What tells its methods from those of another run; empty where there is only one."""
    manifest: Manifest
    cases: tuple[Case, ...]
    """Those that are reported, in the manifest's order."""
    samples: Mapping[tuple[str, str], Sample]
    """By method and case; only of methods and cases that are reported."""
    num_strangers: int = 0
    """Samples of methods or cases that the manifest does not name (any more); left out."""

    def samples_of(self, method: str, group: str | None = None) -> list[Sample]:
        """Finished samples of a method, in the order of the cases; None: of all groups."""
        return [
            self.samples[method, case.name]
            for case in self.cases
            if (method, case.name) in self.samples and group in (None, case.group)
        ]

    def of_cases(self, names: frozenset[str]) -> Run:
        """The same run with only some of its cases."""
        return replace(
            self,
            cases=tuple(case for case in self.cases if case.name in names),
            samples={key: sample for key, sample in self.samples.items() if key[1] in names},
        )


def load_run(path: Path, label: str = "") -> Run:
    """Read a run folder.

    Raises:
        InputError: there is no valid manifest, or no finished sample.
    """
    folder = RunFolder(path)
    manifest, found = folder.read_manifest(), folder.read_samples()
    methods = {method.name for method in manifest.methods}
    cases = {case.name for case in manifest.cases}
    samples = {key: one for key, one in found.items() if key[0] in methods and key[1] in cases}
    if not samples:
        raise InputError(
            f"{path} holds no finished sample of its {len(cases)} cases; run the command that "
            f"made it again: {manifest.command}"
        )
    return Run(
        path=path, label=label, manifest=manifest, cases=manifest.cases, samples=samples,
        num_strangers=len(found) - len(samples),
    )  # fmt: skip


def load_pair(first: Path, second: Path, *, anyway: bool = False) -> tuple[Run, Run]:
    """Two runs, cut to the cases that both have.

    Args:
        first: a run folder.
        second: another.
        anyway: take runs whose numbers are not of one kind.

    Raises:
        InputError: a run cannot be read, they share no case, or (without `anyway`) they were
            scored by different networks or from frames of different kinds, or mean different
            things by one name.
    """
    labels = (first.resolve().name, second.resolve().name)
    if labels[0] == labels[1]:
        labels = (f"A: {labels[0]}", f"B: {labels[1]}")
    runs = load_run(first, labels[0]), load_run(second, labels[1])
    shared = frozenset.intersection(*(frozenset(c.name for c in run.cases) for run in runs))
    if not shared:
        raise InputError(
            f"{first} and {second} have no case of the same name, such as "
            f"'{runs[0].cases[0].name}' of the first; only runs over the same cases can be compared"
        )
    one, other = (run.of_cases(shared) for run in runs)
    for run in (one, other):
        if not run.samples:
            raise InputError(f"{run.path} has finished none of the {len(shared)} shared cases")
    differ = differences(one, other)
    if differ and not anyway:
        raise InputError(
            f"{first} and {second} cannot be compared: {'; '.join(differ)}; score them alike, or "
            "add --anyway"
        )
    return one, other


def differences(first: Run, second: Run) -> list[str]:
    """Why numbers of two runs over the same cases do not belong beside each other."""
    one, other = first.manifest, second.manifest
    found = []
    if one.scored_from != other.scored_from:
        found.append(f"one was scored from frames '{one.scored_from}', the other from "
                     f"'{other.scored_from}'")  # fmt: skip
    for part in sorted(one.extractors.keys() & other.extractors.keys()):
        a, b = one.extractors[part], other.extractors[part]
        if a != b:
            found.append(f"'{part}' is {_named(a.name, a.identity)} in one and "
                         f"{_named(b.name, b.identity)} in the other")  # fmt: skip
    prompts = {case.name: case.prompt for case in second.cases}
    changed = [case for case in first.cases if prompts[case.name] != case.prompt]
    if changed:
        case = changed[0]
        found.append(f"case '{case.name}' has the prompt '{case.prompt}' in one and "
                     f"'{prompts[case.name]}' in the other")  # fmt: skip
    return found


def unfinished(run: Run, method: Method) -> int:
    """How many cases a method still lacks."""
    return len(run.cases) - len(run.samples_of(method.name))


def _named(name: str, identity: str) -> str:
    return f"{name} ({identity[:12]})" if identity else name
