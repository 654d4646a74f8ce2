"""Which cases can be shown, from one run or several."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.study.runs import METHODS, make_run, still, write_still

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import RunFolder
from stillmotion.evaluation.study.material import MAX_METHODS, chosen_cases, gather


def test_a_run(folder: Path) -> None:
    found = gather([folder])
    assert [method.name for method in found.methods] == list(METHODS)
    assert [shown.case.name for shown in found.cases] == [f"case-{i}" for i in range(4)]
    assert all(path.is_file() for shown in found.cases for path in shown.clips.values())
    assert found.left_out == ()


def test_two_runs_share_their_cases(folder: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", ("elsewhere",), cases=2, first=7)
    found = gather([folder, other], ["tremolator", "elsewhere"])
    assert [method.name for method in found.methods] == ["tremolator", "elsewhere"]
    assert [shown.case.name for shown in found.cases] == ["case-0", "case-1"]
    assert found.left_out == ("case-2", "case-3")
    assert found.cases[0].clips["elsewhere"].is_relative_to(other)


def test_cases_without_a_clip_are_left_out(tmp_path: Path) -> None:
    run = RunFolder(make_run(tmp_path / "run"))
    samples = list(run.read_samples().values())
    (run.path / "samples.jsonl").unlink()
    run.add_samples(s for s in samples if (s.method, s.case) != ("bleachbox", "case-1"))
    assert gather([run.path]).left_out == ("case-1",)
    assert gather([run.path], METHODS[:2]).left_out == ()


def test_one_case_is_of_one_picture(folder: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", ("elsewhere",), first=7)
    write_still(other / "stills/case-2.png", np.asarray(255 - still(2)))
    with pytest.raises(InputError, match="The case 'case-2' has another picture"):
        gather([folder, other])


def test_refused_methods(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'glidewise' is in two runs"):
        gather([folder, folder])
    with pytest.raises(InputError, match="There is no method 'pika'; the runs have glidewise,"):
        gather([folder], ["pika"])
    with pytest.raises(InputError, match="1 methods cannot be compared"):
        gather([folder], ["glidewise"])
    many = make_run(tmp_path / "many", [f"m{i}" for i in range(MAX_METHODS + 1)], cases=1)
    with pytest.raises(InputError, match=r"10 methods cannot be compared.*--methods"):
        gather([many])


def test_no_runs_or_no_cases(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give one or more run folders"):
        gather([])
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        gather([tmp_path])
    run = make_run(tmp_path / "run")
    (run / "samples.jsonl").unlink()
    with pytest.raises(InputError, match=r"No case of .* has a picture and a clip"):
        gather([run])


def test_cases_are_spread_over_the_groups(folder: Path) -> None:
    cases = gather([folder]).cases
    for seed in range(10):
        picked = chosen_cases(cases, 2, random.Random(seed))
        assert {shown.case.group for shown in picked} == {"plain", "neon"}
    assert chosen_cases(cases, None, random.Random(0)) == list(cases)
    picks = {chosen_cases(cases, 1, random.Random(seed))[0].case.name for seed in range(40)}
    assert len(picks) == 4
    with pytest.raises(InputError, match="5 cases are asked for, but 4 can be shown"):
        chosen_cases(cases, 5, random.Random(0))
