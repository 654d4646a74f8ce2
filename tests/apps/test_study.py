"""`stillmotion study`: from a run to a page, and from answers to a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.apps.conftest import Run, check_refused
from tests.evaluation.study.runs import METHODS, make_run

from stillmotion.evaluation.study.answers import read_key
from stillmotion.evaluation.study.simulate import simulated_answers

BUILD = ("study", "build", "run", "-o", "study.html", "-q")
STRENGTHS = dict(zip(METHODS, (0.7, 0.2, 0.1), strict=True))


@pytest.fixture
def work(here: Path) -> Path:
    """A working folder with a run."""
    make_run(here / "run")
    return here


def answer(folder: Path, count: int = 4) -> list[str]:
    """Write the answers of made-up raters beside the key."""
    key = read_key(folder / "study.key.json")
    names = []
    for answers in simulated_answers(key, STRENGTHS, count):
        names.append(f"answers-{answers.rater}.json")
        (folder / names[-1]).write_text(answers.model_dump_json(), encoding="utf-8")
    return names


def page_data(folder: Path) -> dict[str, Any]:
    page = (folder / "study.html").read_text(encoding="utf-8")
    text = page.partition('id="study">')[2].partition("</script>")[0]
    data: dict[str, Any] = json.loads(text)
    return data


def test_build(run: Run, work: Path) -> None:
    done = run(*BUILD, "--seed", "3", "--json")
    assert done.code == 0
    facts = done.facts
    assert (facts["page"], facts["key"]) == ("study.html", "study.key.json")
    assert (facts["cases"], facts["questions"], facts["seed"]) == (4, 7, 3)
    assert facts["methods"] == list(METHODS)
    assert facts["bytes"] == (work / "study.html").stat().st_size
    key = read_key(work / "study.key.json")
    assert key.study == facts["study"] == page_data(work)["study"]
    assert sorted(path.name for path in work.iterdir()) == ["run", "study.html", "study.key.json"]
    again = run(*BUILD, "--seed", "3", "--force")
    assert again.out.splitlines()[0].startswith("study.html: 3 methods, 4 cases, 7 questions")
    assert read_key(work / "study.key.json") == key


def test_without_a_seed_each_study_is_another(run: Run, work: Path) -> None:
    first, second = (run(*BUILD, "--force", "--json").facts for _ in range(2))
    assert first["seed"] != second["seed"]
    assert first["study"] != second["study"]


def test_build_options(run: Run, work: Path) -> None:
    (work / "words.json").write_text('{"next": "Weiter"}', encoding="utf-8")
    (work / "hello.txt").write_text("Hello.\n\nThank you.\n", encoding="utf-8")
    run(
        *BUILD, "--design", "dynamicrafter", "--methods", METHODS[0], "--methods", METHODS[2],
        "--cases", "3", "--repeats", "1", "--checks", "0", "--side", "16", "--no-prompts",
        "--title", "Three clips", "--instructions", "hello.txt", "--words", "words.json",
    )  # fmt: skip
    key, data = read_key(work / "study.key.json"), page_data(work)
    assert (key.design, key.title, key.num_showings) == ("dynamicrafter", "Three clips", 4)
    assert [method.name for method in key.methods] == [METHODS[0], METHODS[2]]
    assert data["words"]["next"] == "Weiter"
    assert data["words"]["instructions"] == "Hello.\n\nThank you."
    assert {trial["frames"]["width"] for trial in data["trials"]} == {16}
    assert {trial["prompt"] for trial in data["trials"]} == {""}


def test_refused_studies(run: Run, work: Path) -> None:
    check_refused(run, work, "use the ending .html", "study", "build", "run", "-o", "study.pdf")
    check_refused(run, work, "holds no manifest", "study", "build", "none", "-o", "study.html")
    check_refused(run, work, "choose animatezero or dynamicrafter", *BUILD, "--design", "pika")
    check_refused(run, work, "There is no method 'pika'", *BUILD, "--methods", "pika")
    check_refused(run, work, "3 of 4 cases cannot come twice", *BUILD, "--repeats", "3")
    check_refused(run, work, "'hi.txt' is missing", *BUILD, "--instructions", "hi.txt")
    check_refused(run, work, "no file 'w.json'", *BUILD, "--words", "w.json")
    (work / "study.key.json").touch()
    check_refused(run, work, "'study.key.json' exists already", *BUILD)


def test_score(run: Run, work: Path) -> None:
    run(*BUILD)
    names = answer(work)
    command = ("study", "score", "study.key.json", *names)
    done = run(*command, "-o", "table.md", "--scores", "scores.csv", "--wins", "wins.csv")
    assert done.code == 0
    assert (work / "table.md").read_text(encoding="utf-8") == done.out
    assert done.out.startswith("| Method | Motion ↓ | Appearance ↓ | Subjective ↓ |")
    with (work / "scores.csv").open(encoding="utf-8") as file:
        assert {row["method"] for row in csv.DictReader(file)} == set(METHODS)
    with (work / "wins.csv").open(encoding="utf-8") as file:
        assert sum(float(row["count"]) for row in csv.DictReader(file)) == 3 * 4 * 4 * 3
    facts = run(*command, "--json").facts
    assert facts["raters"] == [f"rater-{i}" for i in range(1, 5)]
    ranks = facts["aspects"]["subjective"]["scores"]
    assert ranks[METHODS[0]]["value"] < ranks[METHODS[2]]["value"]
    assert "'table.md' exists already" in run(*command, "-o", "table.md").error
    assert run(*command, "-o", "table.md", "--force").code == 0


def test_raters_who_did_not_finish_or_look(run: Run, work: Path) -> None:
    run(*BUILD)
    first, second, *_ = answer(work, 2)
    facts = json.loads((work / first).read_text(encoding="utf-8"))
    facts["answers"] = facts["answers"][:2]
    (work / first).write_text(json.dumps(facts), encoding="utf-8")
    command = ("study", "score", "study.key.json", first, second, "--json")
    done = run(*command)
    assert done.facts["raters"] == ["rater-2"]
    assert done.notes == done.facts["notes"]
    assert done.notes == ["'rater-1' did not answer 5 of 7 questions: left out"]
    assert run(*command, "--incomplete").facts["raters"] == ["rater-1", "rater-2"]
    key = read_key(work / "study.key.json")
    spoiled = {trial.spoiled for trial in key.trials}
    facts = json.loads((work / second).read_text(encoding="utf-8"))
    for each in facts["answers"]:
        for ranked in each["choices"].values():
            ranked.sort(key=lambda clip: clip not in spoiled)
    (work / second).write_text(json.dumps(facts), encoding="utf-8")
    assert run(*command).facts["failed_checks"] == {"rater-2": 1}
    assert (
        "Nobody's answers are left"
        in json.loads(run(*command, "--drop-failed").err.splitlines()[-1])["error"]
    )


def test_refused_answers(run: Run, work: Path) -> None:
    run(*BUILD)
    [name] = answer(work, 1)
    score = ("study", "score", "study.key.json")
    check_refused(run, work, "There is no file 'none.json'", *score, "none.json")
    check_refused(run, work, "is no key of a study", "study", "score", name, name)
    check_refused(run, work, "is no file of answers", *score, "study.key.json")
    run(*BUILD, "--force")
    check_refused(run, work, "answers another study", *score, name)
