"""Answers are checked: whose study, which questions, whole, and once for each rater."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.study.runs import METHODS

from stillmotion.errors import InputError
from stillmotion.evaluation.study.answers import (
    gather_answers,
    num_failed_checks,
    read_answers,
    read_key,
)
from stillmotion.evaluation.study.build import Study
from stillmotion.evaluation.study.records import Answers
from stillmotion.evaluation.study.simulate import simulated_answers

Facts = dict[str, Any]
EQUAL = dict.fromkeys(METHODS, 1.0)


def facts_of(study: Study, number: int = 0) -> Facts:
    facts: Facts = simulated_answers(study.key, EQUAL, number + 1)[number].model_dump(mode="json")
    return facts


def write(path: Path, facts: Facts) -> Path:
    path.write_text(json.dumps(facts), encoding="utf-8")
    return path


def test_key_and_answers_are_read_as_written(ranking: Study, tmp_path: Path) -> None:
    path = tmp_path / "study.key.json"
    path.write_text(ranking.key.model_dump_json(), encoding="utf-8")
    assert read_key(path) == ranking.key
    facts = facts_of(ranking)
    assert read_answers(write(tmp_path / "a.json", facts), ranking.key) == Answers(**facts)


def _drop_choice(facts: Facts) -> None:
    del facts["answers"][0]["choices"]["motion"]


def _tie(facts: Facts) -> None:
    ranked = facts["answers"][0]["choices"]["motion"]
    ranked[0] = ranked[1]


def _short(facts: Facts) -> None:
    facts["answers"][0]["choices"]["motion"].pop()


def _twice(facts: Facts) -> None:
    facts["answers"].append(facts["answers"][0])


def _foreign_trial(facts: Facts) -> None:
    facts["answers"][0]["trial"] = "abcdef"


def _foreign_clips(facts: Facts) -> None:
    facts["answers"][0]["order"][0] = "abcdef"


def _never_repeated(facts: Facts) -> None:
    twice = {answer["trial"] for answer in facts["answers"] if answer["showing"] == 2}
    once = next(answer for answer in facts["answers"] if answer["trial"] not in twice)
    once["showing"] = 2


MISTAKES: list[tuple[Callable[[Facts], Any], str]] = [
    (lambda facts: facts.update(email="a@b"), r"extra inputs are not permitted at email"),
    (lambda facts: facts.pop("rater"), r"field required at rater"),
    (lambda facts: facts.update(schema_version=2), r"input should be 1 at schema_version"),
    (lambda facts: facts["answers"][0].update(seconds=-1), r"at answers\.0\.seconds"),
    (lambda facts: facts.update(rater=""), r"at rater"),
    (lambda facts: facts.update(rater="an\x1b[31mna"), r"at rater"),
    (lambda facts: facts.update(study="ab" * 32), r"answers another study \(abababababab\)"),
    (_drop_choice, "does not answer exactly motion, appearance, subjective in the question"),
    (_tie, "has an answer to motion of the question .* that cannot be given"),
    (_short, "has an answer to motion of the question .* that cannot be given"),
    (_twice, "more often than it was asked"),
    (_never_repeated, "more often than it was asked"),
    (_foreign_trial, "answers the question abcdef, which the study does not have"),
    (_foreign_clips, "shows other clips"),
]


@pytest.mark.parametrize(("change", "said"), MISTAKES)
def test_wrong_answers_are_refused(
    ranking: Study, tmp_path: Path, change: Callable[[Facts], Any], said: str
) -> None:
    facts = facts_of(ranking)
    change(facts)
    with pytest.raises(InputError, match=said):
        read_answers(write(tmp_path / "a.json", facts), ranking.key)


def test_files_that_are_no_answers(ranking: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        read_answers(tmp_path / "none.json", ranking.key)
    with pytest.raises(InputError, match="is a folder"):
        read_answers(tmp_path, ranking.key)
    path = tmp_path / "a.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is no file of answers; give one that the study's page"):
        read_answers(path, ranking.key)
    with pytest.raises(InputError, match="is no key of a study"):
        read_key(path)


def test_choices_are_checked_by_their_kind(choosing: Study, tmp_path: Path) -> None:
    facts = facts_of(choosing)
    choices, order = facts["answers"][0]["choices"], facts["answers"][0]["order"]
    for allowed in ([], order[:2], order):
        choices["input_conformity"] = allowed
        read_answers(write(tmp_path / "a.json", facts), choosing.key)
    for refused in ([], order[:2]):
        choices["motion_quality"] = refused
        with pytest.raises(InputError, match="an answer to motion_quality"):
            read_answers(write(tmp_path / "a.json", facts), choosing.key)


def test_the_later_file_of_a_rater_counts(ranking: Study, tmp_path: Path) -> None:
    early, late = facts_of(ranking), facts_of(ranking)
    early["answers"].pop()
    late["saved_at"] = "2030-01-01T00:00:00Z"
    paths = [write(tmp_path / "late.json", late), write(tmp_path / "early.json", early)]
    panel = gather_answers(paths, ranking.key)
    assert [len(answers.answers) for answers in panel.answers] == [7]
    assert f"'{paths[0]}' counts as the latest" in panel.notes[0]
    early["session"] = "00ff"
    write(paths[1], early)
    with pytest.raises(InputError, match="two people, or two attempts, under the name 'rater-1'"):
        gather_answers(paths, ranking.key)


def test_incomplete_raters_are_named(ranking: Study, tmp_path: Path) -> None:
    whole, part = facts_of(ranking), facts_of(ranking, 1)
    part["answers"] = part["answers"][:3]
    paths = [write(tmp_path / "a.json", whole), write(tmp_path / "b.json", part)]
    panel = gather_answers(paths, ranking.key)
    assert [answers.rater for answers in panel.answers] == ["rater-1"]
    assert panel.incomplete == {"rater-2": 4}
    assert "'rater-2' did not answer 4 of 7 questions: left out" in panel.notes
    kept = gather_answers(paths, ranking.key, keep_incomplete=True)
    assert [answers.rater for answers in kept.answers] == ["rater-1", "rater-2"]
    assert "counted as far as they got" in kept.notes[0]
    with pytest.raises(InputError, match="Nobody's answers are left"):
        gather_answers(paths[1:], ranking.key)
    write(paths[1], {**part, "answers": []})
    with pytest.raises(InputError, match="Nobody's answers are left"):
        gather_answers(paths[1:], ranking.key, keep_incomplete=True)
    with pytest.raises(InputError, match="no answers to score"):
        gather_answers([], ranking.key)


def test_failed_checks(ranking: Study, tmp_path: Path) -> None:
    facts = facts_of(ranking)
    [check] = [trial for trial in ranking.key.trials if trial.kind == "check"]
    assert num_failed_checks(Answers(**facts), ranking.key) == 0
    [answer] = [answer for answer in facts["answers"] if answer["trial"] == check.id]
    for failures, aspects in ((0, ["motion"]), (1, ["motion", "subjective"])):
        for aspect in aspects:
            ranked = answer["choices"][aspect]
            answer["choices"][aspect] = sorted(ranked, key=lambda clip: clip != check.spoiled)
        assert num_failed_checks(Answers(**facts), ranking.key) == failures
    paths = [
        write(tmp_path / "a.json", facts),
        write(tmp_path / "b.json", facts_of(ranking, 1)),
    ]
    assert len(gather_answers(paths, ranking.key).answers) == 2
    panel = gather_answers(paths, ranking.key, drop_failed=True)
    assert [answers.rater for answers in panel.answers] == ["rater-2"]
    assert panel.failed == {"rater-1": 1}
    assert "'rater-1' failed 1 attention check: left out" in panel.notes


def test_failed_checks_of_choices(choosing: Study) -> None:
    facts = facts_of(choosing)
    [check] = [trial for trial in choosing.key.trials if trial.kind == "check"]
    [answer] = [answer for answer in facts["answers"] if answer["trial"] == check.id]
    assert num_failed_checks(Answers(**facts), choosing.key) == 0
    answer["choices"]["input_conformity"] = [check.spoiled]
    assert num_failed_checks(Answers(**facts), choosing.key) == 1
