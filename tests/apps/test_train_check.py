"""`stillmotion train check`: what is usable, and what is wrong with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.conftest import Run
from tests.training.coded_clips import write_clip, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_clip(tmp_path / "good.mp4", 24)
    write_clip(tmp_path / "short.mp4", 4)
    rows = [
        {"path": "good.mp4", "caption": "numbers", "licence": "CC0"},
        {"path": "short.mp4", "caption": "numbers"},
        {"path": "gone.mp4", "caption": "numbers"},
    ]
    return write_manifest(tmp_path / "clips.jsonl", rows)


def test_problems_are_told_by_line(run: Run, manifest: Path) -> None:
    done = run("train", "check", manifest, "-q")
    assert done.code == 0
    *problems, usable = done.out.splitlines()
    assert usable == "1 of 3 clips can be used, 1 s"
    assert [line.split(":")[0] for line in problems] == [
        "clips.jsonl, line 2", "clips.jsonl, line 3",
    ]  # fmt: skip


def test_as_json_and_for_shorter_samples(run: Run, manifest: Path) -> None:
    facts = run("train", "check", manifest, "--frames", "4", "--every-frame", "--json", "-q").facts
    assert (facts["clips"], facts["usable"]) == (3, 2)
    assert len(facts["problems"]) == 1
    assert "gone.mp4" in facts["problems"][0]
    assert facts["licences"] == {"CC0": 1, "not said": 1}
    assert facts["seconds"] == pytest.approx(28 / 24, rel=0.05)


def test_nothing_usable_and_no_list_are_errors(run: Run, manifest: Path, tmp_path: Path) -> None:
    assert "none of the 3 clips" in run("train", "check", manifest, "--frames", "50", "-q").error
    assert "nowhere.csv" in run("train", "check", tmp_path / "nowhere.csv", "-q").error
