"""The cases that every method has a clip of, from one or several run folders."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Method, RunFolder
from stillmotion.media.images import load_image

MAX_METHODS = 9
"""So that each place has a digit of its own on the keyboard."""


@dataclass(frozen=True)
class Shown:
    """A case that can be shown: its picture and one clip of each method."""

    case: Case
    still: Path
    clips: Mapping[str, Path]
    """By the method's name."""


@dataclass(frozen=True)
class Material:
    """What a study is made from."""

    methods: tuple[Method, ...]
    cases: tuple[Shown, ...]
    """In the order of the first run."""
    left_out: tuple[str, ...]
    """Names of the cases without a picture or without a clip of some method."""
    titles: tuple[str, ...]
    """Of the runs."""


@dataclass(frozen=True)
class _Run:
    folder: Path
    title: str
    methods: tuple[Method, ...]
    cases: Mapping[str, Case]
    clips: Mapping[tuple[str, str], Path]


def gather(folders: Sequence[Path], wanted: Sequence[str] = ()) -> Material:
    """The methods of all runs, and the cases that they share.

    Args:
        folders: run folders; cases of one name are one case and must begin with the same picture.
        wanted: names of the methods to show; all if empty.

    Raises:
        InputError: no such run; a method in two runs, an unknown one, fewer than 2 or more than
            `MAX_METHODS`; one case with two pictures or prompts; no case that can be shown.
    """
    if not folders:
        raise InputError("There is no run to take clips from; give one or more run folders.")
    runs = [_read(folder) for folder in folders]
    methods = _chosen(runs, wanted)
    names = [name for name in runs[0].cases if all(name in run.cases for run in runs)]
    found = {name: _shown(name, runs, methods) for name in names}
    cases = tuple(shown for shown in found.values() if shown is not None)
    if not cases:
        raise InputError(
            f"No case of {', '.join(str(folder) for folder in folders)} has a picture and a clip "
            f"of each of {', '.join(method.name for method in methods)}; finish the runs, or "
            "choose other methods."
        )
    everywhere = {name: None for run in runs for name in run.cases}
    shown_names = {shown.case.name for shown in cases}
    left_out = tuple(name for name in everywhere if name not in shown_names)
    return Material(methods, cases, left_out, tuple(run.title for run in runs))


def chosen_cases(cases: Sequence[Shown], count: int | None, stream: random.Random) -> list[Shown]:
    """`count` of the cases by chance, spread evenly over their groups; all for None.

    Raises InputError if there are not so many.
    """
    if count is None:
        return list(cases)
    if not 1 <= count <= len(cases):
        raise InputError(
            f"{count} cases are asked for, but {len(cases)} can be shown; give 1 to {len(cases)}."
        )
    groups: dict[str, list[Shown]] = {}
    for shown in cases:
        groups.setdefault(shown.case.group, []).append(shown)
    for group in groups.values():
        stream.shuffle(group)
    # The first of every group, then the second of every group, and so on.
    order = sorted(
        ((place, name) for name, group in groups.items() for place in range(len(group))),
        key=lambda item: (item[0], stream.random()),
    )
    picked = {groups[name][place].case.name for place, name in order[:count]}
    return [shown for shown in cases if shown.case.name in picked]


def _read(folder: Path) -> _Run:
    run = RunFolder(folder)
    manifest = run.read_manifest()
    clips = {key: folder / sample.clip for key, sample in run.read_samples().items()}
    cases = {case.name: case for case in manifest.cases}
    return _Run(folder, manifest.title, manifest.methods, cases, clips)


def _chosen(runs: Sequence[_Run], wanted: Sequence[str]) -> tuple[Method, ...]:
    found: dict[str, Method] = {}
    for run in runs:
        for method in run.methods:
            if method.name in found:
                raise InputError(
                    f"The method '{method.name}' is in two runs; name it otherwise in one, or "
                    "give only one of them."
                )
            found[method.name] = method
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise InputError(f"There is no method '{unknown[0]}'; the runs have {', '.join(found)}.")
    names = dict.fromkeys(wanted or found)
    if not 2 <= len(names) <= MAX_METHODS:
        raise InputError(
            f"{len(names)} methods cannot be compared by people; choose 2 to {MAX_METHODS} of "
            f"{', '.join(found)} with --methods."
        )
    return tuple(found[name] for name in names)


def _shown(name: str, runs: Sequence[_Run], methods: Sequence[Method]) -> Shown | None:
    """The case of this name, None if it has no picture or a method has no clip of it."""
    cases = [run.cases[name] for run in runs]
    stills = [
        run.folder / case.still
        for run, case in zip(runs, cases, strict=True)
        if case.still is not None
    ]
    clips = {
        method.name: path
        for method in methods
        for run in runs
        if (path := run.clips.get((method.name, name))) is not None
    }
    if not stills or len(clips) < len(methods):
        return None
    if len({case.prompt for case in cases}) > 1 or not _all_equal(stills):
        raise InputError(
            f"The case '{name}' has another picture or prompt in one run than in another; only "
            "clips of the same picture can be compared."
        )
    return Shown(cases[0], stills[0], clips)


def _all_equal(stills: Sequence[Path]) -> bool:
    if len(stills) == 1:
        return True
    first, *others = (load_image(path) for path in stills)
    return all(np.array_equal(first, other) for other in others)
