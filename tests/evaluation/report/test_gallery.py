"""Clips as strips of frames, and which cases a gallery shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.report.made_run import METHODS, Shape, clip, write_run
from tests.evaluation.report.pages import cut, picture

from stillmotion.errors import InputError
from stillmotion.evaluation.report import gallery as module
from stillmotion.evaluation.report.gallery import (
    Gallery,
    GalleryOptions,
    choose_cases,
    gallery,
    strip,
)
from stillmotion.evaluation.report.runs import Run, load_run
from stillmotion.evaluation.report.summary import Summary, summarise


def shown(run: Run, **options: int) -> Gallery:
    return gallery([run], summarise([run]), GalleryOptions(**options))


@given(
    st.integers(1, 20), st.tuples(st.integers(1, 30), st.integers(1, 30)), st.integers(0, 2**32 - 1)
)
def test_every_frame_is_found_again_exactly(
    num_frames: int, size: tuple[int, int], seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, *size, 3), np.uint8)
    made = strip(frames, 64)
    assert (made.num_frames, made.height, made.width) == (num_frames, *size)
    found = cut(picture(made.data), made.width, made.height, made.columns)[:num_frames]
    assert np.array_equal(np.stack(found), frames)


def test_wide_clips_are_made_smaller() -> None:
    frames = np.zeros((5, 60, 90, 3), np.uint8)
    frames[:, :, :, 0] = 200
    made = strip(frames, 30)
    assert (made.width, made.height, made.of_width, made.of_height) == (30, 20, 90, 60)
    found = cut(picture(made.data), 30, 20, made.columns)
    assert np.abs(found[4].astype(int) - frames[0, 0, 0]).max() <= 8  # lossy, but the same colour


def test_long_clips_are_cut() -> None:
    made = strip(np.zeros((module.MAX_FRAMES + 3, 2, 2, 3), np.uint8), 64)
    assert (made.num_frames, made.of_frames) == (module.MAX_FRAMES, module.MAX_FRAMES + 3)


def test_what_webp_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="too large for a gallery; choose a smaller width"):
        strip(np.zeros((1, 20000, 2, 3), np.uint8), 64)


def test_each_method_of_each_case_has_its_own_clip(made: Run, folder: Path) -> None:
    found = shown(made)
    assert found.num_frames == 6
    for case, row in enumerate(found.rows):
        assert row.still is not None
        assert np.array_equal(picture(row.still.data), clip(0, case, Shape())[0])
        for method, one in enumerate(row.showings):
            assert one.column.name == METHODS[method]
            assert one.strip is not None
            frames = cut(
                picture(one.strip.data), one.strip.width, one.strip.height, one.strip.columns
            )
            assert np.array_equal(np.stack(frames)[:6], clip(method, case, Shape()))
    assert found.remarks == ("All clips are shown exactly, pixel for pixel.",)


def test_few_cases_are_taken_from_all_groups(made: Run) -> None:
    assert [case.group for case in choose_cases([made], 2)] == ["plain", "neon"]
    assert [case.name for case in choose_cases([made], 3)] == ["case-1", "case-2", "case-3"]
    assert shown(made, num_cases=2).remarks[0] == "2 of 4 cases are shown; the tables are of all."


def test_unfinished_cases_are_not_chosen(made: Run) -> None:
    first = {key: one for key, one in made.samples.items() if key[1] != "case-1"}
    chosen = choose_cases([replace(made, samples=first)], 2)
    assert [case.name for case in chosen] == ["case-2", "case-3"]


def test_the_size_is_bounded(made: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(shown(made, num_cases=1).rows[0].showings[0].strip.data)  # type: ignore[union-attr]
    monkeypatch.setattr(module, "MAX_BYTES", 7 * one)
    found = shown(made)
    assert 1 <= len(found.rows) < 4
    assert found.remarks[0].startswith(f"{len(found.rows)} of 4 cases are shown")


def test_what_is_missing_is_told(tmp_path: Path, summary: Summary) -> None:
    shape = Shape(leave_out=frozenset({("animatezero", "case-1")}))
    folder = write_run(tmp_path / "run", shape).path
    (folder / "clips/animatediff/case-1.webp").unlink()
    (folder / "stills/case-1.png").unlink()
    row = shown(load_run(folder)).rows[0]
    assert row.still is None
    assert [one.missing for one in row.showings] == [
        "clips/animatediff/case-1.webp is gone", "not finished", "",
    ]  # fmt: skip


def test_a_bad_clip_is_told_in_its_place(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run").path
    (folder / "clips/animatediff/case-1.webp").write_bytes(b"RIFF no more")
    broken, whole, _ = shown(load_run(folder)).rows[0].showings
    assert "is not a WEBP picture, or it is damaged" in broken.missing
    assert whole.strip is not None


def test_other_seeds_of_a_second_run_are_told(tmp_path: Path) -> None:
    runs = []
    for name, seed in (("one", 3), ("two", 9)):
        folder = write_run(tmp_path / name)
        manifest = folder.read_manifest()
        cases = tuple(case.model_copy(update={"seed": seed}) for case in manifest.cases)
        folder.write_manifest(manifest.model_copy(update={"cases": cases}))
        runs.append(load_run(folder.path, name))
    found = gallery(runs, summarise(runs), GalleryOptions(num_cases=1))
    assert found.rows[0].seeds == (3, 9)


def test_smaller_clips_are_told(made: Run) -> None:
    [remark] = shown(made, width=20).remarks
    assert remark.startswith("12 of 12 clips are shown smaller, 20 pixels wide")
