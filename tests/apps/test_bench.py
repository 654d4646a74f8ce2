"""`stillmotion bench counts`: what it writes and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.apps.conftest import Run, check_refused

from stillmotion.benchmarks import full_size
from stillmotion.benchmarks.call import Call
from stillmotion.benchmarks.counting import Counts, Tally


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every call of a model costs one addition; which models were asked for."""
    asked: list[Any] = []
    counts = Counts(operators={"add": Tally(operations=1, bytes_moved=2**30)}, peak_bytes=0)

    def calls(models: list[str]) -> list[Call]:
        asked.append(models)
        return [Call(model="animatezero", name="draw", title="a step", count=lambda: counts)]

    monkeypatch.setattr(full_size, "calls", calls)
    return asked


def test_tables_and_facts_are_written(run: Run, here: Path, quick: list[Any]) -> None:
    done = run("bench", "counts", "-o", "counts.md", "-q")
    assert done.code == 0
    assert done.err == ""
    assert "| animatezero | a step | 0.000 | 1.00 | 0.000 | 1 | – |" in done.out
    assert (here / "counts.md").read_text() == done.out
    facts = json.loads((here / "counts.json").read_text())
    assert facts["calls"][0]["bytes_moved"] == 2**30
    again = ("bench", "counts", "-o", "counts.md", "--json", "-q")
    assert "'counts.md' exists already" in json.loads(run(*again).err)["error"]
    assert run(*again, "--force").facts == facts


def test_models_are_handed_on(run: Run, here: Path, quick: list[Any]) -> None:
    run("bench", "counts", "--model", "animatezero", "--model", "dynamicrafter-512", "-q")
    run("bench", "counts", "-q")
    assert quick == [["animatezero", "dynamicrafter-512"], []]
    assert list(here.iterdir()) == []


def test_progress_is_shown(run: Run, here: Path, quick: list[Any]) -> None:
    assert "bench counts 1/1" in run("bench", "counts").err


def test_mistakes_are_told_before_anything_is_counted(run: Run, here: Path) -> None:
    check_refused(run, here, "cannot hold the tables", "bench", "counts", "-o", "counts.csv")
    check_refused(run, here, "no model 'sdxl' to count", "bench", "counts", "--model", "sdxl")
    (here / "counts.json").write_text("{}")
    check_refused(run, here, "'counts.json' exists already", "bench", "counts", "-o", "counts.md")
