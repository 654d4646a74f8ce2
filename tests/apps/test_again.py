"""`stillmotion animate --from CLIP`: the same clip once more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.apps.conftest import Run, copy_still, files, save_picture

from stillmotion import load_clip, save_clip
from stillmotion.media.clips import read_provenance
from stillmotion.media.provenance import Provenance
from stillmotion.models.registry import miniature_folder

pytestmark = pytest.mark.usefixtures("loaded_once")
FAST = ("--frames", "2", "-q")


@pytest.mark.parametrize("name", ["mp4", "webm", "gif", "webp", "safetensors", "frames"])
def test_the_same_clip_without_the_still(name: str, run: Run, here: Path, still: Path) -> None:
    own = copy_still(still, here)
    first, again = (Path(part if name == "frames" else f"{part}.{name}") for part in ("a", "b"))
    options = ("--fps", "6", "--scale", "2", "--window-blocks", "down,mid", "--guidance", "2")
    assert run("animate", own, "a red balloon rising", "-o", first, *options, *FAST).code == 0
    for path in here.glob("plain.*"):
        path.unlink()
    done = run("animate", "--from", first, "-o", again, "-q")
    assert done.code == 0
    assert done.err == ""
    assert files(first) == files(again)
    assert Path(f"{first}.json").read_bytes() == Path(f"{again}.json").read_bytes()


def test_in_its_look(run: Run, here: Path, neon_still: Path) -> None:
    assert run("animate", neon_still, "-o", "a.webp", *FAST).code == 0
    assert run("animate", "--from", "a.webp", "-o", "b.webp", "-q").code == 0
    assert (here / "a.webp").read_bytes() == (here / "b.webp").read_bytes()


def test_other_options_change_it(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "-o", "a.webp", "--seed", "1", *FAST).code == 0
    assert run("animate", "--from", "a.webp", "-o", "b.webp", "--seed", "2", "-q").code == 0
    assert run("animate", "--from", "a.webp", "-o", "c.webp", "--fps", "3", "-q").code == 0
    one, other, slow = (load_clip(f"{name}.webp") for name in "abc")
    np.testing.assert_array_equal(one.frames[0], other.frames[0])
    assert (one.frames[1] != other.frames[1]).any()
    np.testing.assert_array_equal(one.frames, slow.frames)
    assert slow.fps == 3
    assert read_provenance("b.webp").seed == 2


def test_of_a_photograph_the_picture_is_asked_for(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    made = run("animate", "p.png", "a cat", "--steps", "2", "-o", "a.gif", *FAST)
    assert made.code == 0
    asked = run("animate", "--from", "a.gif", "-o", "b.gif").error
    assert "('p.png')" in asked
    assert "animate PICTURE --from a.gif" in asked
    assert run("animate", "p.png", "--from", "a.gif", "-o", "b.gif", "-q").code == 0
    assert (here / "a.gif").read_bytes() == (here / "b.gif").read_bytes()


def test_a_still_taken_as_a_photograph_is_so_again(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "--photograph", "-o", "a.gif", *FAST).code == 0
    assert run("animate", still, "--from", "a.gif", "-o", "b.gif", "-q").code == 0
    assert (here / "a.gif").read_bytes() == (here / "b.gif").read_bytes()


def test_another_picture_is_told(run: Run, here: Path, still: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    assert run("animate", still, "-o", "a.gif", *FAST).code == 0
    done = run("animate", "p.png", "--from", "a.gif", "-o", "b.gif", "-q")
    assert done.code == 0
    assert "'p.png' is not the picture that 'a.gif' was made from" in done.notes


def tampered(path: Path, **changes: Any) -> Path:
    """A copy of a clip whose record says something else."""
    clip, record = load_clip(path), json.loads(read_provenance(path).to_json())
    record.pop("output")
    copy = path.with_name(f"tampered-{path.name}")
    provenance = Provenance.from_json(json.dumps(record | changes))
    save_clip(clip.frames, copy, provenance=provenance, overwrite=True)
    return copy


def test_other_weights_are_told(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "-o", "a.gif", *FAST).code == 0
    settings = read_provenance("a.gif").settings | {"motion_fingerprint": "0"}
    changed = tampered(here / "a.gif", settings=settings)
    done = run("animate", still, "--from", changed, "-o", "b.gif", "-q")
    assert done.code == 0
    assert "other weights" in done.notes[0]


def test_a_still_that_comes_out_differently_is_refused(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "-o", "a.gif", *FAST).code == 0
    record = read_provenance("a.gif")
    assert record.still is not None
    recipe = record.still.model_dump() | {"seed": 8}
    changed = tampered(here / "a.gif", still=recipe)
    failed = run("animate", "--from", changed, "-o", "b.gif", "-q")
    assert "comes out differently here" in failed.error
    assert not (here / "b.gif").exists()


def test_records_that_cannot_be_used(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "-o", "a.gif", *FAST).code == 0
    record = read_provenance("a.gif")
    assert record.still is not None
    for changes, said in (
        ({"settings": {}}, "is damaged or was written by another version"),
        ({"settings": record.settings | {"fps": "fast"}}, "(fps: "),
        ({"settings": record.settings | {"control": {"window": "open"}}}, "control"),
        ({"still": record.still.model_dump() | {"settings": {"steps": 1}}}, "is damaged"),
        ({"model": {"name": "elsewhere", "fingerprint": ""}}, "say where it is with --model"),
    ):
        changed = tampered(here / "a.gif", **changes)
        assert said in run("animate", "--from", changed, "-o", "b.gif", "-q").error


def test_things_that_are_no_clip(run: Run, here: Path, still: Path) -> None:
    assert "give it without --from" in run("animate", "--from", still, "-o", "a.gif").error
    assert "there is no 'none.mp4'" in run("animate", "--from", "none.mp4", "-o", "a.gif").error
    (here / "bad.mp4").write_text("no clip")
    assert run("animate", "--from", "bad.mp4", "-o", "a.gif").error
    assert [path.name for path in here.iterdir()] == ["bad.mp4"]


def test_files_and_names_put_into_the_model(run: Run, here: Path, still: Path) -> None:
    """A scheduler is known by its name; a file has to be given again."""
    neon = miniature_folder() / "loras" / "neon.safetensors"
    lora = ("--lora", f"{neon}:0.5")
    command = ("--photograph", "--scheduler", "euler", *lora, "-o", "a.gif", "--json", *FAST)
    assert run("animate", still, *command).code == 0
    assert read_provenance("a.gif").settings["ingredients"] == {
        "loras": [["neon.safetensors", 0.5]],
        "scheduler": "euler",
    }
    again = ("animate", still, "--from", "a.gif", "-q", "-o")
    notes = run(*again, "b.gif").notes
    assert "'a.gif' was made with files of your own (loras); give them again" in notes
    assert run(*again, "c.gif", *lora).code == 0
    assert (here / "a.gif").read_bytes() == (here / "c.gif").read_bytes()
