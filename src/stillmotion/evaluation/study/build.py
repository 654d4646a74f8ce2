"""The study: what the page is given to show, and the key that tells whose clip is whose."""

from __future__ import annotations

import hashlib
import json
import platform
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stillmotion import __version__
from stillmotion.errors import InputError
from stillmotion.evaluation.study.designs import Design, design_named
from stillmotion.evaluation.study.material import Material, Shown, chosen_cases
from stillmotion.evaluation.study.records import SCHEMA_VERSION, KeyMethod, KeyTrial, StudyKey
from stillmotion.evaluation.study.strips import (
    Fitted,
    Frames,
    columns,
    encoded,
    encoded_still,
    fit_clips,
    is_small,
    spoiled,
)
from stillmotion.evaluation.study.words import WORDS
from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames

DEFAULT_REPEATS, DEFAULT_CHECKS = 2, 1
_SHORTEST_TELLING_NAME = 3


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study is made from its material."""

    seed: int
    """Of the anonymous names and of all orders; anything that raters do not know."""
    design: str = "animatezero"
    cases: int | None = None
    """How many, spread over the groups; None: all."""
    repeats: int | None = None
    """Cases that each rater sees twice; None: `DEFAULT_REPEATS`, or half of the cases if fewer."""
    checks: int = DEFAULT_CHECKS
    """Attention checks: sets with one spoiled clip."""
    side: int = 320
    """Most pixels of a frame's longer side."""
    show_prompts: bool = True
    words: Mapping[str, str] = field(default_factory=lambda: WORDS)


@dataclass(frozen=True)
class Study:
    """A study that is ready to be written."""

    data: dict[str, Any]
    """For the page, JSON-able; tells no method."""
    words: Mapping[str, str]
    key: StudyKey
    notes: tuple[str, ...]
    """What whoever runs the study should know."""


@dataclass(frozen=True)
class _Trial:
    page: dict[str, Any]
    key: KeyTrial
    notes: tuple[str, ...]


def build_study(
    material: Material, options: StudyOptions, tick: Callable[[], None] = lambda: None
) -> Study:
    """Make a study; the same material and options give the same study.

    Args:
        material: methods and the cases that all have clips of.
        options: what is asked, and how often.
        tick: called after each trial.

    Raises:
        InputError: an unknown design, numbers that the material does not allow, or a clip or
            picture that cannot be read.
    """
    design = design_named(options.design)
    stream = random.Random(f"{options.seed}:study")
    cases = chosen_cases(material.cases, options.cases, stream)
    repeats = _num_repeats(options, len(cases))
    checked = _checked_cases(material, cases, options, stream)
    planned = [(shown, False) for shown in cases] + [(shown, True) for shown in checked]
    stream.shuffle(planned)
    trials = []
    for shown, is_check in planned:
        trials.append(_trial(shown, is_check, material, options, stream))
        tick()
    data = _page_data(design, trials, repeats, options, stream)
    key = _key(data, trials, material, options)
    notes = dict.fromkeys([*_notes(material, options), *(n for t in trials for n in t.notes)])
    return Study(data, options.words, key, tuple(notes))


def num_trials(material: Material, options: StudyOptions) -> int:
    """How many sets of clips the study will have."""
    return (options.cases or len(material.cases)) + options.checks


def study_hash(data: Mapping[str, Any]) -> str:
    """sha256 of the page's data, its own hash left out."""
    rest = {name: value for name, value in data.items() if name != "study"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _num_repeats(options: StudyOptions, num_cases: int) -> int:
    most = num_cases // 2
    if options.repeats is None:
        return min(DEFAULT_REPEATS, most)
    if not 0 <= options.repeats <= most:
        raise InputError(
            f"{options.repeats} of {num_cases} cases cannot come twice; give 0 to {most}, half of "
            "the cases, to --repeats."
        )
    return options.repeats


def _checked_cases(
    material: Material, cases: Sequence[Shown], options: StudyOptions, stream: random.Random
) -> list[Shown]:
    """Cases for the attention checks: such as are not in the study, while there are any."""
    if not 0 <= options.checks <= len(material.cases):
        raise InputError(
            f"{options.checks} attention checks are asked for; give 0 to {len(material.cases)}, "
            "the number of cases, to --checks."
        )
    asked = {shown.case.name for shown in cases}
    spare = [shown for shown in material.cases if shown.case.name not in asked]
    used = list(cases)
    stream.shuffle(spare)
    stream.shuffle(used)
    return [*spare, *used][: options.checks]


def _trial(
    shown: Shown, is_check: bool, material: Material, options: StudyOptions, stream: random.Random
) -> _Trial:
    still = load_image(shown.still)
    names = [method.name for method in material.methods]
    clips = [read_frames(shown.clips[name]) for name in names]
    fitted = fit_clips(clips, (still.shape[0], still.shape[1]), options.side)
    frames: list[Frames] = list(fitted.clips)
    ids = {name: _token(stream) for name in names}
    victim = stream.choice(names) if is_check else None
    if victim is not None:
        place = names.index(victim)
        numbers = np.random.default_rng(stream.getrandbits(64))
        frames[place] = spoiled(frames[place], numbers)
    strips = dict(zip(ids.values(), encoded(frames), strict=True))
    key = KeyTrial(
        id=_token(stream),
        kind="check" if is_check else "case",
        case=shown.case.name,
        group=shown.case.group,
        clips={ids[name]: name for name in names},
        spoiled=None if victim is None else ids[victim],
    )
    page = {
        "id": key.id,
        "prompt": shown.case.prompt if options.show_prompts else "",
        "still": encoded_still(still, fitted.timing.size),
        "frames": _frame_facts(fitted),
        # By the anonymous id, so that the order tells nothing either.
        "clips": [{"id": clip, "strip": strips[clip]} for clip in sorted(strips)],
    }
    return _Trial(page, key, _trial_notes(shown, fitted))


def _frame_facts(fitted: Fitted) -> dict[str, Any]:
    timing = fitted.timing
    return {
        "height": timing.size[0],
        "width": timing.size[1],
        "count": timing.count,
        "columns": columns(timing.count),
        "fps": timing.fps,
        "crisp": is_small(timing.size),
    }


def _page_data(
    design: Design,
    trials: Sequence[_Trial],
    repeats: int,
    options: StudyOptions,
    stream: random.Random,
) -> dict[str, Any]:
    cases = [trial.key.id for trial in trials if trial.key.kind == "case"]
    # Half of the cases, whatever is needed: the others may or may not be attention checks.
    repeatable = stream.sample(cases, (len(cases) + 1) // 2) if repeats else []
    data: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        # Not the seed itself: from that, the anonymous ids could be found again.
        "shuffle": hashlib.sha256(f"{options.seed}:shuffle".encode()).hexdigest()[:32],
        "repeats": repeats,
        "repeatable": repeatable,
        "aspects": [{"key": aspect.key, "kind": aspect.kind} for aspect in design.aspects],
        "words": dict(options.words),
        "trials": [trial.page for trial in trials],
    }
    data["study"] = study_hash(data)
    return data


def _key(
    data: Mapping[str, Any], trials: Sequence[_Trial], material: Material, options: StudyOptions
) -> StudyKey:
    return StudyKey(
        study=data["study"],
        title=options.words["title"],
        design=options.design,
        seed=options.seed,
        shuffle=data["shuffle"],
        methods=tuple(
            KeyMethod(name=method.name, title=method.title) for method in material.methods
        ),
        trials=tuple(trial.key for trial in trials),
        repeatable=tuple(data["repeatable"]),
        repeats=data["repeats"],
        sources=material.titles,
        versions={"stillmotion": __version__, "python": platform.python_version()},
    )


def _notes(material: Material, options: StudyOptions) -> list[str]:
    notes = []
    if material.left_out:
        first, rest = material.left_out[:3], len(material.left_out) - 3
        names = ", ".join(first) + (f" and {rest} more" if rest > 0 else "")
        notes.append(
            f"{len(material.left_out)} cases lack a picture or a method's clip and are left out: "
            f"{names}"
        )
    read = [options.words["title"], options.words["instructions"]]
    if options.show_prompts:
        read += [shown.case.prompt for shown in material.cases]
    for method in material.methods:
        for name in {method.name, method.title}:
            if any(_says(text, name) for text in read):
                notes.append(
                    f"'{name}' stands in a prompt, the title or the instructions, which raters "
                    "read; mind what it tells them"
                )
    return notes


def _says(text: str, name: str) -> bool:
    return len(name) >= _SHORTEST_TELLING_NAME and bool(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
    )


def _trial_notes(shown: Shown, fitted: Fitted) -> tuple[str, ...]:
    notes = []
    if fitted.cropped:
        notes.append(
            f"the clips of '{shown.case.name}' have not all the picture's shape; borders are cut "
            "off"
        )
    if fitted.shortened:
        notes.append(
            f"the clips of '{shown.case.name}' last differently long; all end with the shortest"
        )
    return tuple(notes)


def _token(stream: random.Random) -> str:
    return f"{stream.getrandbits(48):012x}"
