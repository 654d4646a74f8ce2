"""A run's clips and pictures under the names that VBench reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError, OutputError
from stillmotion.evaluation.benchmark import vbench
from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder, Sample
from stillmotion.evaluation.benchmark.vbench import export_vbench, file_stem, num_files
from stillmotion.media.clips import read_provenance, save_clip
from stillmotion.media.images import load_image
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.media.reading import read_frames

CAT, DOG, LONG = "a cat", "a dog: is it 2/3?", "very " * 60 + "long"
METHODS = ("one", "two")


def frames_of(shade: int) -> NDArray[np.uint8]:
    return np.full((3, 16, 24, 3), shade, np.uint8)


def write_clip(path: Path, shade: int) -> None:
    model = ModelIdentity(name="m", fingerprint="")
    note = Provenance(kind="clip", method="m", prompt="p", seed=shade, model=model)
    save_clip(frames_of(shade), path, provenance=note, overwrite=True, side_car=False, fps=6)


def make_run(folder: Path, prompts: Mapping[str, str], *, suffix: str = ".webp") -> RunFolder:
    """A run of two methods, all clips finished, every picture of its own shade."""
    run = RunFolder(folder)
    cases = tuple(
        Case(name=name, prompt=prompt, seed=index, still=f"stills/{name}.png")
        for index, (name, prompt) in enumerate(prompts.items())
    )
    run.write_manifest(
        Manifest(
            protocol="animatezero", title="t", command="c", cases=cases, extractors={},
            methods=tuple(Method(name=name, title=name) for name in METHODS),
            scored_from="lossless", versions={},
        )
    )  # fmt: skip
    (folder / "stills").mkdir()
    for index, case in enumerate(cases):
        Image.new("RGB", (24, 16), (40 * index, 0, 0)).save(folder / str(case.still))
        for number, method in enumerate(METHODS):
            write_clip(folder / f"clips/{method}/{case.name}{suffix}", 40 * index + 20 * number)
    finish(run, *((method, case.name) for method in METHODS for case in cases), suffix=suffix)
    return run


def finish(run: RunFolder, *pairs: tuple[str, str], suffix: str = ".webp") -> None:
    (run.path / "samples.jsonl").unlink(missing_ok=True)
    run.add_samples(
        Sample(method=m, case=c, clip=f"clips/{m}/{c}{suffix}", metrics={}, num_frames=3)
        for m, c in pairs
    )


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def prompt_from(name: str) -> str:
    """How VBench reads a prompt: without the ending, and without a number behind the last "-"."""
    return re.sub(r"-\d+$", "", Path(name).stem)


def test_clips_have_their_prompts_as_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT, "y": DOG})
    ticks: list[int] = []
    made = export_vbench(run, tmp_path / "out", tick=lambda: ticks.append(1))
    assert files(tmp_path / "out") == {
        "videos/one/a cat-0.mp4", "videos/one/a dog: is it 2 3?-0.mp4", "videos/two/a cat-0.mp4",
        "videos/two/a dog: is it 2 3?-0.mp4", "images/a cat.png", "images/a dog: is it 2 3?.png",
        "prompts.json", "export.json",
    }  # fmt: skip
    assert made.videos == {name: tmp_path / "out" / "videos" / name for name in METHODS}
    assert (made.written, made.kept, made.ambiguous) == (6, 0, ())
    assert len(ticks) == 6 == num_files(run)
    assert json.loads(made.prompts.read_text()) == {
        "a cat-0.mp4": CAT, "a dog: is it 2 3?-0.mp4": DOG,
    }  # fmt: skip
    clip = read_frames(made.videos["two"] / "a cat-0.mp4")
    assert clip.fps == 6
    assert np.abs(clip.frames.astype(int) - 20).max() <= 3
    assert read_provenance(made.videos["two"] / "a cat-0.mp4").seed == 20
    assert load_image(made.images / "a dog: is it 2 3?.png")[0, 0].tolist() == [40, 0, 0]


def test_vbench_finds_prompts_and_pictures(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT, "y": "route-66", "z": "-"})
    made = export_vbench(run, tmp_path / "out")
    for folder in made.videos.values():
        for video in folder.iterdir():
            prompt = prompt_from(video.name)
            assert prompt == json.loads(made.prompts.read_text())[video.name]
            assert (made.images / f"{prompt}.png").is_file()


def test_equal_prompts_are_numbered(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT, "y": CAT, "z": CAT})
    made = export_vbench(run, tmp_path / "out")
    names = {f"a cat-{number}.mp4" for number in range(3)}
    assert files(made.videos["one"]) == names
    # Their pictures differ, so that each has the name of its clip.
    assert files(made.images) == {f"a cat-{number}.png" for number in range(3)}
    assert made.ambiguous == ("a cat",)
    assert load_image(made.images / "a cat-2.png")[0, 0, 0] == 80


def test_equal_prompts_can_share_a_picture(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT, "y": CAT})
    (run.path / "stills/y.png").write_bytes((run.path / "stills/x.png").read_bytes())
    made = export_vbench(run, tmp_path / "out")
    assert files(made.images) == {"a cat.png"}
    assert made.ambiguous == ()


def test_prompts_that_are_no_names_are_told_whole(tmp_path: Path) -> None:
    prompts = {"x": LONG, "y": LONG + "er", "z": "", "w": "ü" * 180}
    made = export_vbench(make_run(tmp_path / "run", prompts), tmp_path / "out")
    told = json.loads(made.prompts.read_text())
    assert sorted(told.values()) == sorted(prompts.values())
    stem = LONG[:180].strip()
    assert told[f"{stem}-0.mp4"] == LONG
    assert told[f"{stem}-1.mp4"] == LONG + "er"
    assert told["z-0.mp4"] == ""
    assert files(made.videos["one"]) == set(told)


@given(st.text(max_size=300))
def test_any_prompt_gives_a_name(prompt: str) -> None:
    encodable = prompt.encode("utf-8", "replace").decode()
    stem = file_stem(encodable)
    assert len(f"{stem}-1000000.mp4".encode()) <= 255
    assert len(stem) <= 180
    assert not set(stem) & {"/", "\0", "\n"}
    assert file_stem(stem) == stem
    if len(encodable) <= 57 and encodable.isalpha():
        assert stem == encodable


def test_an_interrupted_export_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, target = make_run(tmp_path / "run", {"x": CAT, "y": DOG}), tmp_path / "out"
    left = [3]

    def write(*arguments: object, **options: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        save_clip(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(vbench, "save_clip", write)
    with pytest.raises(KeyboardInterrupt):
        export_vbench(run, target)
    assert len(files(target / "videos")) == 2
    before = {path: path.stat().st_mtime_ns for path in (target / "videos").rglob("*.mp4")}
    left[0] = 100
    made = export_vbench(run, target)
    assert (made.written, made.kept) == (4, 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert export_vbench(run, target).written == 0


def test_what_a_run_adds_is_added(tmp_path: Path) -> None:
    run, target = make_run(tmp_path / "run", {"x": CAT, "y": CAT}), tmp_path / "out"
    finish(run, ("one", "y"))
    made = export_vbench(run, target)
    # Numbered by the manifest, so that the first keeps its place.
    assert files(target / "videos") == {"one/a cat-1.mp4"}
    assert made.written == 2
    finish(run, ("one", "y"), ("two", "y"))
    made = export_vbench(run, target)
    assert (made.written, made.kept) == (1, 2)


def test_other_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    run, target = make_run(tmp_path / "run", {"x": CAT}), tmp_path / "out"
    export_vbench(run, target)
    kept = (target / "videos/two/a cat-0.mp4").stat().st_mtime_ns
    write_clip(run.path / "clips/one/x.webp", 200)
    with pytest.raises(OutputError, match=r"1 files in .* 'videos/one/a cat-0.mp4'; .*--force"):
        export_vbench(run, target)
    assert read_frames(target / "videos/one/a cat-0.mp4").frames[0, 0, 0, 0] < 100
    made = export_vbench(run, target, force=True)
    assert (made.written, made.kept) == (1, 2)
    assert read_frames(target / "videos/one/a cat-0.mp4").frames[0, 0, 0, 0] > 190
    assert (target / "videos/two/a cat-0.mp4").stat().st_mtime_ns == kept
    # A force that was interrupted has left nothing that the next call would take for new.
    assert export_vbench(run, target).written == 0


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT})
    target = tmp_path / "mine"
    (target / "videos/one").mkdir(parents=True)
    (target / "videos/one/a cat-0.mp4").write_text("mine")
    with pytest.raises(OutputError, match="holds other things"):
        export_vbench(run, target)
    assert (target / "videos/one/a cat-0.mp4").read_text() == "mine"
    made = export_vbench(run, target, force=True)
    assert len(read_frames(made.videos["one"] / "a cat-0.mp4").frames) == 3
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="no folder of an export"):
        export_vbench(run, tmp_path / "file")
    (target / "export.json").write_text("{}")
    with pytest.raises(OutputError, match="no folder of an export"):
        export_vbench(run, target)


def test_mp4_clips_are_copied(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT}, suffix=".mp4")
    made = export_vbench(run, tmp_path / "out")
    source = run.path / "clips/one/x.mp4"
    assert (made.videos["one"] / "a cat-0.mp4").read_bytes() == source.read_bytes()


def test_clips_of_other_tools_get_a_record(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"x": CAT})
    frames = [Image.fromarray(frame) for frame in frames_of(90)]
    clip = tmp_path / "theirs.gif"
    frames[0].save(clip, save_all=True, append_images=frames[1:], duration=100, optimize=False)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        frame.save(folder / f"{number}.png")
    (run.path / "samples.jsonl").unlink()
    run.add_samples(
        Sample(method=method, case="x", clip=str(path), metrics={}, num_frames=3)
        for method, path in (("one", clip), ("two", folder))
    )
    made = export_vbench(run, tmp_path / "out")
    record = read_provenance(made.videos["one"] / "a cat-0.mp4")
    assert (record.method, record.prompt) == ("benchmark: one", CAT)
    assert len(read_frames(made.videos["two"] / "a cat-0.mp4").frames) == 3
    assert export_vbench(run, tmp_path / "out").written == 0


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no manifest.json"):
        export_vbench(RunFolder(tmp_path), tmp_path / "out")
    run = make_run(tmp_path / "run", {"x": CAT})
    (run.path / "clips/one/x.webp").unlink()
    with pytest.raises(InputError, match=r"one/x.webp', a part of the run, cannot be read"):
        export_vbench(run, tmp_path / "out")
    finish(run)
    with pytest.raises(InputError, match="no finished clips to export"):
        export_vbench(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
