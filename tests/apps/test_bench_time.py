"""`stillmotion bench time` and `bench curves`: what they write and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.apps.conftest import Run, check_refused
from tests.benchmarks.tiny_stages import clip_stage

from stillmotion.benchmarks import arenas, time_report
from stillmotion.benchmarks.calibration import Ceilings
from stillmotion.benchmarks.contenders import Arena, Contender, Made, Prepared


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One contender that makes a number at once; what arenas were asked for."""
    asked: list[Any] = []

    def made(model: str, device: torch.device, **options: Any) -> list[Arena]:
        asked.append((model, str(device), options))
        one = Contender(
            name="one", title="the only one", group="animatezero", label="other",
            prepare=lambda stage: Prepared(run=lambda n: Made(latents=torch.zeros(1))),
        )  # fmt: skip
        return [
            Arena(
                name="clips", title="a clip", build=lambda dtype: None, contenders=(one,),
                num_steps=2,
            )
        ]  # fmt: skip

    ceilings = Ceilings(flops_per_second={"float32": 1e9}, bytes_per_second=1e9)
    monkeypatch.setattr(arenas, "arenas", made)
    monkeypatch.setattr(time_report, "calibrate", lambda device, dtype: ceilings)
    return asked


def test_report_facts_and_plots_are_written(run: Run, here: Path, quick: list[Any]) -> None:
    line = ("bench", "time", "--device", "cpu", "--rounds", "2", "-o", "time.md", "-q")
    done = run(*line)
    assert done.code == 0, done.err
    assert "| the only one | other |" in done.out
    assert (here / "time.md").read_text() == done.out
    assert sorted(path.name for path in here.iterdir()) == [
        "time-clips.svg", "time.json", "time.md",
    ]  # fmt: skip
    facts = json.loads((here / "time.json").read_text())
    assert len(facts["arenas"][0]["contenders"][0]["seconds"]) == 2
    assert "'time.md' exists already" in run(*line).err
    assert run(*line, "--force", "--json").facts["rounds"] == 2


def test_choices_are_handed_on(run: Run, here: Path, quick: list[Any]) -> None:
    run(
        "bench", "time", "--device", "cpu", "--only", "animatezero", "--only", "attention",
        "--steps", "3", "--compiled", "off", "--savings", "off", "-q",
    )  # fmt: skip
    options = {
        "only": ["animatezero", "attention"],
        "num_steps": 3,
        "compiles": False,
        "each_saving": False,
    }
    assert quick == [("miniature", "cpu", options)]
    assert list(here.iterdir()) == []


def test_progress_is_shown(run: Run, here: Path, quick: list[Any]) -> None:
    assert "bench time 10/10" in run("bench", "time", "--device", "cpu").err


def test_an_interruption_leaves_nothing(
    run: Run, here: Path, quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time_report, "hold", interrupted)
    done = run("bench", "time", "--device", "cpu", "-o", "time.md", "-q")
    assert done.code == 130
    assert list(here.iterdir()) == []


def test_mistakes_are_told_before_anything_is_timed(run: Run, here: Path) -> None:
    time = ("bench", "time", "--device", "cpu")
    check_refused(run, here, "cannot hold the tables", *time, "-o", "time.csv")
    check_refused(run, here, "no model 'sdxl' to time", *time, "--model", "sdxl")
    check_refused(run, here, "no group 'sdxl' of miniature", *time, "--only", "sdxl")
    check_refused(run, here, "takes hours on a CPU", *time, "--model", "full-size")
    check_refused(run, here, "can be on or off", *time, "--compiled", "perhaps")
    curves = ("bench", "curves", "--device", "cpu")
    check_refused(run, here, "no curve 'speed'", *curves, "--only", "speed")
    check_refused(run, here, "give whole numbers with commas", *curves, "--frames", "16;32")
    check_refused(run, here, "give a multiple of 8", *curves, "--sizes", "65")
    check_refused(run, here, "on a CUDA device only", *curves, "--cap", "4")
    check_refused(run, here, "takes hours on a CPU", *curves, "--model", "full-size")


def test_curves_are_written(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arenas, "clip_stage", lambda *args, **options: clip_stage())
    done = run(
        "bench", "curves", "--device", "cpu", "--only", "frames", "--only", "clips", "--frames",
        "2,4", "--clips", "1", "--steps", "1", "--rounds", "1", "--warmups", "0", "-o",
        "curves.md", "-q",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name for path in here.iterdir()) == [
        "curves-clips.svg", "curves-frames.svg", "curves.json", "curves.md",
    ]  # fmt: skip
    facts = json.loads((here / "curves.json").read_text())
    assert [curve["kind"] for curve in facts["curves"]] == ["frames", "clips"]
    assert "(curves-frames.svg)" in done.out
