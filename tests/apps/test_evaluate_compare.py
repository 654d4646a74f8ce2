"""`stillmotion evaluate report` and `compare`, run as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.apps.conftest import Run
from tests.evaluation.report.made_run import METHODS, Shape, write_run


def test_report_writes_three_files(run: Run, here: Path) -> None:
    write_run(here / "made")
    done = run("evaluate", "report", "made", "--cases", "1")
    assert done.code == 0
    assert "| Text-Sim (CLIP-miniature) ↑ |" in done.out
    for name in ("report.html", "report.md", "report.json"):
        assert f"made/{name}" in done.out
        assert (here / "made" / name).stat().st_size > 1000
    assert (here / "made/report.html").read_text(encoding="utf-8").count("<canvas") == 3
    # Again, over the old ones, with another reference.
    done = run("evaluate", "report", "made", "--reference", METHODS[1], "--json")
    assert {versus["reference"] for versus in done.facts["comparisons"]} == {METHODS[1]}
    assert json.loads((here / "made/report.json").read_text(encoding="utf-8")) == done.facts


def test_report_refuses_what_is_no_run(run: Run, here: Path) -> None:
    assert "nowhere holds no manifest.json" in run("evaluate", "report", "nowhere").error
    write_run(here / "made")
    assert (
        "no method is called 'pia'" in run("evaluate", "report", "made", "--reference", "pia").error
    )
    assert sorted(path.name for path in here.glob("made/report*")) == []


@pytest.fixture
def two(here: Path) -> Path:
    write_run(here / "a")
    write_run(here / "b", Shape(methods=METHODS[:2]))
    return here


def test_compare_shows_both(run: Run, two: Path) -> None:
    done = run("evaluate", "compare", "a", "b")
    assert "| metric | AnimateDiff · a | AnimateDiff · b |" in done.out
    assert "### AnimateDiff · b minus AnimateDiff · a" in done.out
    assert sorted(path.name for path in two.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "holds"),
    [("out.html", "<canvas"), ("out.md", "## Paired comparisons"), ("out.json", '"comparisons"')],
)
def test_compare_writes_what_the_ending_says(run: Run, two: Path, name: str, holds: str) -> None:
    done = run("evaluate", "compare", "a", "b", "-o", name)
    assert done.out.rstrip().endswith(name)
    assert holds in (two / name).read_text(encoding="utf-8")
    again = run("evaluate", "compare", "a", "b", "-o", name)
    assert f"'{name}' exists already" in again.error
    assert run("evaluate", "compare", "a", "b", "-o", name, "--force").code == 0


def test_compare_refuses_runs_of_other_kinds(run: Run, two: Path) -> None:
    write_run(two / "c", Shape(scored_from="decoded h264"))
    said = run("evaluate", "compare", "a", "c", "-o", "out.html").error
    assert "a and c cannot be compared: one was scored from frames 'lossless'" in said
    assert not (two / "out.html").exists()
    done = run("evaluate", "compare", "a", "c", "--anyway", "--json")
    assert done.facts["notes"][0].startswith("Compared although one was scored from")


def test_compare_refuses_unknown_endings(run: Run, two: Path) -> None:
    assert "cannot hold a report" in run("evaluate", "compare", "a", "b", "-o", "out.pdf").error
