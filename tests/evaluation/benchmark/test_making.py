"""A run is made once, kept at once, and taken up again where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.benchmark.test_folder import manifest
from tests.evaluation.pool import Pool

from stillmotion.evaluation import workers
from stillmotion.evaluation.benchmark import making
from stillmotion.evaluation.benchmark.cases import rendered_cases, rendered_clip
from stillmotion.evaluation.benchmark.dynamicrafter import RenderedScenes
from stillmotion.evaluation.benchmark.folder import Method, RunFolder
from stillmotion.evaluation.benchmark.making import REAL, Bench, Plan, make_run, num_parts
from stillmotion.evaluation.extractors.choice import ExtractorChoice
from stillmotion.media.reading import read_frames

CASES = tuple(rendered_cases(2))
METHODS = (Method(name=REAL, title="real clips"), Method(name="still", title="at rest"))
NOTHING = ExtractorChoice.parse(
    [f"{part}=none" for part in ("clip", "perceptual", "video", "flow", "judge")]
)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(making, "_bench", None)
    facts = manifest(protocol="dynamicrafter", methods=METHODS, cases=CASES)
    return Plan(
        run=RunFolder(tmp_path / "run"), manifest=facts, protocol="dynamicrafter",
        source=RenderedScenes(64), methods=(REAL, "still"), choice=NOTHING,
        cases=tuple(case.name for case in CASES), num_frames=8,
    )  # fmt: skip


def test_every_clip_is_made_written_and_scored(plan: Plan) -> None:
    ticks: list[int] = []
    make_run(plan, lambda: ticks.append(1))
    assert len(ticks) == num_parts(plan) == 6
    samples = plan.run.read_samples()
    assert set(samples) == {(m, c.name) for m in (REAL, "still") for c in CASES}
    rest, real = samples["still", "0000"], samples[REAL, "0000"]
    assert rest.metrics["flicker"] == 0.0
    assert rest.metrics["i1_mse"] == 0.0
    assert rest.seconds is not None
    assert real.seconds is None
    frames = read_frames(plan.run.path / real.clip).frames
    assert (frames == rendered_clip(CASES[0], 8, 64)).all()


def test_a_finished_run_makes_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(plan, lambda: None)
    before = (plan.run.path / "samples.jsonl").read_bytes()
    monkeypatch.setattr(Bench, "sample", None)
    ticks: list[int] = []
    make_run(plan, lambda: ticks.append(1))
    assert len(ticks) == 6
    assert (plan.run.path / "samples.jsonl").read_bytes() == before


def test_what_was_finished_before_an_error_is_kept(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Bench.sample
    made: list[str] = []

    def breaks(bench: Bench, method: str, case: Any) -> Any:
        if len(made) == 2:
            raise ValueError("broken")
        made.append(case.name)
        return whole(bench, method, case)

    monkeypatch.setattr(Bench, "sample", breaks)
    with pytest.raises(ValueError, match="broken"):
        make_run(plan, lambda: None)
    kept = len(plan.run.read_samples())
    monkeypatch.setattr(Bench, "sample", whole)
    make_run(plan, lambda: None)
    assert kept <= 2
    assert len(plan.run.read_samples()) == 4


def test_the_same_run_twice_has_the_same_clips(plan: Plan, tmp_path: Path) -> None:
    other = replace(plan, run=RunFolder(tmp_path / "other"))
    for one in (plan, other):
        make_run(one, lambda: None)
    for path in sorted(plan.run.path.glob("clips/*/*.webp")):
        assert path.read_bytes() == (other.run.path / path.relative_to(plan.run.path)).read_bytes()


def test_frames_are_scored_as_the_file_gives_them_back(plan: Plan) -> None:
    lossy = replace(plan, suffix=".mp4")
    make_run(lossy, lambda: None)
    error = lossy.run.read_samples()["still", "0000"].metrics["i1_mse"]
    assert error is not None
    assert 0 < error < 100
    assert np.isfinite(error)


def test_real_clips_are_looked_at_once_for_each_case(plan: Plan) -> None:
    words = [f"{part}=none" for part in ("clip", "perceptual", "flow", "judge")]
    seeing = replace(plan, choice=ExtractorChoice.parse(words))
    make_run(seeing, lambda: None)
    samples = seeing.run.read_samples()
    real = samples[REAL, "0000"].features
    assert real["video-real"] == real["video"]
    assert set(samples["still", "0000"].features) == {"video"}
