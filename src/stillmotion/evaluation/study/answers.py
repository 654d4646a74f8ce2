"""Answers read from the files that raters sent, and checked against the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from stillmotion.errors import InputError
from stillmotion.evaluation.study.designs import Aspect, design_named
from stillmotion.evaluation.study.records import Answer, Answers, KeyTrial, StudyKey

MAX_BYTES = 20_000_000
"""Largest key or answers file that is read; a real one has a few thousand."""
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Panel:
    """The raters whose answers count, and who was left out and why."""

    answers: tuple[Answers, ...]
    """One for each rater, by name."""
    incomplete: Mapping[str, int]
    """How many questions are missing, by the rater's name, counted or not."""
    failed: Mapping[str, int]
    """How many attention checks were failed, by the rater's name, counted or not."""
    notes: tuple[str, ...]


def read_key(path: Path) -> StudyKey:
    """The key of a study.  Raises InputError if it is missing or not valid."""
    key = _read(path, StudyKey, "key of a study; give the .key.json that 'study build' wrote")
    design_named(key.design)
    return key


def read_answers(path: Path, key: StudyKey) -> Answers:
    """One rater's answers.

    Raises:
        InputError: the file is missing, has a field too few or too many, belongs to another study,
            or holds an answer that its question does not allow.
    """
    answers = _read(path, Answers, "file of answers; give one that the study's page saved")
    if answers.study != key.study:
        raise InputError(
            f"'{path}' answers another study ({answers.study[:12]}) than the key's "
            f"({key.study[:12]}); give the key of that study, or leave the file out."
        )
    for mistake in _mistakes(answers, key):
        raise InputError(f"'{path}' {mistake}; was it changed by hand?")
    return answers


def gather_answers(
    paths: Sequence[Path],
    key: StudyKey,
    *,
    keep_incomplete: bool = False,
    drop_failed: bool = False,
) -> Panel:
    """The answers of all raters, one file each.

    A rater who saved twice counts with the later file.  Raters who did not finish are left out
    unless `keep_incomplete`, those who failed an attention check only with `drop_failed`; notes
    tell of all of them.

    Raises:
        InputError: as `read_answers`; two people used one name; or nobody is left.
    """
    if not paths:
        raise InputError("There are no answers to score; give the files that raters saved.")
    notes: list[str] = []
    raters = _one_for_each([(path, read_answers(path, key)) for path in paths], notes)
    missing = {answers.rater: key.num_showings - len(answers.answers) for answers in raters}
    incomplete = {rater: count for rater, count in missing.items() if count}
    failed = {
        answers.rater: count for answers in raters if (count := num_failed_checks(answers, key))
    }
    notes += _told(key, incomplete, "counted as far as they got" if keep_incomplete else "left out",
                   failed, "left out" if drop_failed else "counted all the same")  # fmt: skip
    kept = tuple(
        answers
        for answers in raters
        if answers.answers
        and (keep_incomplete or answers.rater not in incomplete)
        and not (drop_failed and answers.rater in failed)
    )
    if not kept:
        raise InputError(
            "Nobody's answers are left: all are incomplete or failed an attention check; count "
            "incomplete ones with --incomplete, or ask more people."
        )
    return Panel(kept, incomplete, failed, tuple(notes))


def _told(
    key: StudyKey,
    incomplete: Mapping[str, int],
    what_of_incomplete: str,
    failed: Mapping[str, int],
    what_of_failed: str,
) -> list[str]:
    return [
        f"'{rater}' did not answer {count} of {key.num_showings} questions: {what_of_incomplete}"
        for rater, count in incomplete.items()
    ] + [
        f"'{rater}' failed {count} attention check{'' if count == 1 else 's'}: {what_of_failed}"
        for rater, count in failed.items()
    ]


def num_failed_checks(answers: Answers, key: StudyKey) -> int:
    """How many attention checks a rater failed.

    A check is passed when the spoiled clip is nowhere chosen as best or as matching the picture,
    and is last in more than half of the rankings.
    """
    checks = {trial.id: trial for trial in key.trials if trial.kind == "check"}
    return sum(
        not _passed(answer, checks[answer.trial], key)
        for answer in answers.answers
        if answer.trial in checks
    )


def _passed(answer: Answer, check: KeyTrial, key: StudyKey) -> bool:
    last = []
    for aspect in design_named(key.design).aspects:
        chosen = answer.choices[aspect.key]
        if aspect.kind == "rank":
            last.append(chosen[-1] == check.spoiled)
        elif check.spoiled in chosen:
            return False
    return not last or sum(last) > len(last) / 2


def _read(path: Path, model: type[_Model], what: str) -> _Model:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"'{path}' is too large to be a {what}.")
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"There is no file '{path}'; check the name.") from None
    except IsADirectoryError:
        raise InputError(f"'{path}' is a folder; give the name of a file.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f" at {place}" if place else ""
        raise InputError(f"'{path}' is no {what} ({first['msg'].lower()}{where}).") from None


def _mistakes(answers: Answers, key: StudyKey) -> Iterable[str]:
    """What is wrong with the answers, the first first."""
    trials = {trial.id: trial for trial in key.trials}
    seen = set()
    for answer in answers.answers:
        trial = trials.get(answer.trial)
        if trial is None:
            yield f"answers the question {answer.trial}, which the study does not have"
            return
        again = answer.trial in key.repeatable and key.repeats > 0
        if (answer.trial, answer.showing) in seen or (answer.showing == 2 and not again):
            yield f"answers the question {answer.trial} more often than it was asked"
        seen.add((answer.trial, answer.showing))
        yield from _mistakes_of(answer, trial, key)


def _mistakes_of(answer: Answer, trial: KeyTrial, key: StudyKey) -> Iterable[str]:
    aspects = design_named(key.design).aspects
    if sorted(answer.order) != sorted(trial.clips):
        yield f"shows other clips in the question {trial.id} than the study"
    if answer.choices.keys() != {aspect.key for aspect in aspects}:
        names = ", ".join(aspect.key for aspect in aspects)
        yield f"does not answer exactly {names} in the question {trial.id}"
        return
    for aspect in aspects:
        chosen = answer.choices[aspect.key]
        if not _allowed(chosen, aspect, trial):
            yield f"has an answer to {aspect.key} of the question {trial.id} that cannot be given"


def _allowed(chosen: Sequence[str], aspect: Aspect, trial: KeyTrial) -> bool:
    if len(set(chosen)) < len(chosen) or not set(chosen) <= trial.clips.keys():
        return False
    return {"rank": len(chosen) == len(trial.clips), "best": len(chosen) == 1, "select": True}[
        aspect.kind
    ]


def _one_for_each(found: Sequence[tuple[Path, Answers]], notes: list[str]) -> list[Answers]:
    """The latest answers of each rater, by name."""
    raters: dict[str, tuple[Path, Answers]] = {}
    for path, answers in sorted(found, key=lambda item: item[1].saved_at):
        if (before := raters.get(answers.rater)) is not None:
            if before[1].session != answers.session:
                raise InputError(
                    f"'{before[0]}' and '{path}' are of two people, or two attempts, under the "
                    f"name '{answers.rater}'; leave one out, or change the name in one."
                )
            notes.append(f"'{answers.rater}' saved more than once: '{path}' counts as the latest")
        raters[answers.rater] = (path, answers)
    return [raters[name][1] for name in sorted(raters)]
