"""The run folder: what is written is read again, and a killed run loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder, Sample


def manifest(**changes: object) -> Manifest:
    facts: dict[str, object] = {
        "protocol": "clips", "title": "A run", "command": "stillmotion evaluate clips",
        "methods": (Method(name="one", title="One"),),
        "cases": (Case(name="0000", prompt="a red ball", seed=1, still="stills/0000.png"),),
        "extractors": {}, "scored_from": "lossless", "versions": {"stillmotion": "1"},
    }  # fmt: skip
    return Manifest.model_validate({**facts, **changes})


def sample(case: str = "0000", **metrics: float | None) -> Sample:
    return Sample(
        method="one", case=case, clip=f"clips/one/{case}.webp", metrics=metrics, num_frames=16,
        features={"video": (0.5, 1.0)},
    )  # fmt: skip


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_manifest(manifest())
    run.add_samples([sample(i1_mse=0.0, i1_psnr=None)])
    run.add_samples([sample("0001", i1_mse=2.5)])
    assert run.read_manifest() == manifest()
    found = run.read_samples()
    assert list(found) == [("one", "0000"), ("one", "0001")]
    assert found["one", "0000"] == sample(i1_mse=0.0, i1_psnr=None)


def test_half_a_line_is_passed_over_and_the_next_has_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.add_samples([sample(i1_mse=1.0)])
    with (tmp_path / "samples.jsonl").open("a") as log:
        log.write('{"method": "one", "case": "00')
    run.add_samples([sample("0002", i1_mse=2.0)])
    assert [case for _, case in run.read_samples()] == ["0000", "0002"]


def test_a_sample_measured_again_replaces_the_older(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.add_samples([sample(i1_mse=1.0), sample(i1_mse=3.0)])
    assert run.read_samples()["one", "0000"].metrics == {"i1_mse": 3.0}


def test_a_folder_without_a_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no manifest\.json; give a folder that"):
        RunFolder(tmp_path).read_manifest()


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is not valid: Field required"):
        RunFolder(tmp_path).read_manifest()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Method(name=name, title="")
    with pytest.raises(ValidationError):
        Case(name=name, prompt="", seed=0)


def test_infinities_never_reach_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunFolder(tmp_path).add_samples([sample(i1_psnr=float("inf"))])
