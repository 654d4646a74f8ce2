"""Which runs can be read, and which compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.report.made_run import METHODS, Shape, clip, write_run

from stillmotion.errors import InputError, OutputError
from stillmotion.evaluation.benchmark.folder import RunFolder, Sample
from stillmotion.evaluation.report.runs import load_pair, load_run
from stillmotion.evaluation.report.summary import summarise
from stillmotion.evaluation.report.writing import compare_runs


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        load_run(tmp_path)


def test_a_run_without_samples_is_refused(tmp_path: Path) -> None:
    everything = frozenset((method, f"case-{i}") for method in METHODS for i in range(1, 5))
    folder = write_run(tmp_path / "run", Shape(leave_out=everything))
    with pytest.raises(InputError, match="no finished sample of its 4 cases; run the command"):
        load_run(folder.path)


def test_strangers_are_left_out_and_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    folder.add_samples([Sample(method="gone", case="case-1", clip="x", metrics={}, num_frames=1)])
    run = load_run(folder.path)
    assert (len(run.samples), run.num_strangers) == (12, 1)
    assert any("1 samples belong to methods or cases" in note for note in summarise([run]).notes)


def pair(tmp_path: Path, **changes: object) -> tuple[Path, Path]:
    first = write_run(tmp_path / "first").path
    prompt = str(changes.pop("prompt", "a red ball"))
    second = write_run(tmp_path / "second", Shape(**changes), prompt).path  # type: ignore[arg-type]
    return first, second


def test_shared_cases_are_paired_by_name(tmp_path: Path) -> None:
    one, other = load_pair(*pair(tmp_path, num_cases=2, methods=METHODS[:2]))
    assert [case.name for case in one.cases] == ["case-1", "case-2"]
    found = summarise([one, other])
    assert [(v.method, v.reference) for v in found.comparisons] == [
        ("second/animatediff", "first/animatediff"), ("second/animatezero", "first/animatezero"),
    ]  # fmt: skip
    assert all(d.mean == 0 and d.count <= 2 for v in found.comparisons for d in v.differences)
    assert [column.title for column in found.columns] == [
        "AnimateDiff · first", "AnimateDiff · second", "AnimateZero · first",
        "AnimateZero · second", "with time travel · first",
    ]  # fmt: skip


def test_other_methods_are_compared_with_the_firsts_reference(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", Shape(methods=METHODS[:1])).path
    second = write_run(tmp_path / "second", Shape(methods=METHODS[1:])).path
    found = summarise(load_pair(first, second))
    assert [(v.method, v.reference) for v in found.comparisons] == [
        ("second/animatezero", "first/animatediff"), ("second/time-travel", "first/animatediff"),
    ]  # fmt: skip


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / parent / "run").path for parent in "xy"]
    assert [run.label for run in load_pair(*paths)] == ["A: run", "B: run"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scored_from": "decoded h264"}, "'lossless', the other from 'decoded h264'"),
        ({"clip_identity": "12" * 32}, r"'clip' is CLIP-miniature \(abababababab\) in one and"),
        ({"prompt": "a blue ball"}, "'case-1' has the prompt 'a red ball' in one and 'a blue"),
    ],
)
def test_runs_of_other_kinds_are_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    paths = pair(tmp_path, **changes)
    with pytest.raises(InputError, match=f"cannot be compared: .*{said}.*--anyway"):
        load_pair(*paths)
    notes = summarise(load_pair(*paths, anyway=True)).notes
    assert any(note.startswith("Compared although ") for note in notes)


def test_runs_without_a_shared_case_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first").path
    folder = RunFolder(write_run(tmp_path / "second").path)
    manifest = folder.read_manifest()
    renamed = tuple(case.model_copy(update={"name": f"x-{case.name}"}) for case in manifest.cases)
    folder.write_manifest(manifest.model_copy(update={"cases": renamed}))
    folder.add_samples(
        [Sample(method=METHODS[0], case="x-case-1", clip="", metrics={}, num_frames=1)]
    )
    with pytest.raises(InputError, match="have no case of the same name, such as 'case-1'"):
        load_pair(first, folder.path)


def test_a_comparison_has_a_known_ending(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot hold a report; use one of \.html, \.md, \.json"):
        compare_runs(*pair(tmp_path), tmp_path / "a.pdf")


def test_made_clips_differ() -> None:
    """What the other tests rest on: a mix-up of frames, methods or cases would be seen."""
    shape = Shape()
    clips = [clip(method, case, shape) for method in range(3) for case in range(4)]
    assert len({frame.tobytes() for one in clips for frame in one}) == 3 * 4 * shape.num_frames
