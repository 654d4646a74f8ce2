"""`stillmotion draw`."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from tests.apps.conftest import Run

from stillmotion import Still
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image

PROMPT = "a red balloon over green hills"
FAST = ("--steps", "2", "-q")


def test_several_stills_with_records(run: Run, here: Path, still: Path) -> None:
    done = run("draw", PROMPT, "--count", "2", "--seed", "6", "-o", "new/a.png", "--json", *FAST)
    assert done.code == 0
    assert done.err == ""
    rows = done.facts["stills"]
    assert [row["path"] for row in rows] == ["new/a-1.png", "new/a-2.png"]
    assert [row["seed"] for row in rows] == [6, 7]
    for row in rows:
        drawn = Still.load(Path(row["path"]))
        assert drawn.latents is not None
        assert drawn.seed == row["seed"]
        inside, beside = read_provenance(row["path"]), Path(row["record"]).read_text()
        assert (inside.kind, inside.prompt, inside.seed) == ("still", PROMPT, row["seed"])
        assert json.loads(beside) == json.loads(inside.to_json())
    # Seed 7 is the same still alone and in a series.
    np.testing.assert_array_equal(load_image(Path(rows[1]["path"])), load_image(still))
    names = {f"a-{i}{end}" for i in (1, 2) for end in (".png", ".png.json", ".latents.safetensors")}
    assert {path.name for path in Path("new").iterdir()} == names


def test_a_seed_by_chance_is_told_and_draws_the_same_again(run: Run, here: Path) -> None:
    first = run("draw", PROMPT, "-o", "a.png", "--json", *FAST).facts
    assert run("draw", PROMPT, "-o", "b.png", "--seed", str(first["seed"]), *FAST).code == 0
    np.testing.assert_array_equal(load_image(here / "a.png"), load_image(here / "b.png"))


def test_words_for_people(run: Run, here: Path) -> None:
    done = run("draw", PROMPT, "-o", "a.png", "--seed", "5", "--steps", "2")
    assert done.out == "a.png  (seed 5)\n"
    assert done.err.splitlines()[-1] == "draw 2/2"


def test_a_look_puts_its_words_before_the_prompt(neon_still: Path) -> None:
    drawn = Still.load(neon_still)
    assert drawn.prompt == f"neon, {PROMPT}"
    assert drawn.model["name"] == "miniature@neon"


def test_what_the_text_encoder_does_not_see_is_told(run: Run, here: Path) -> None:
    prompt = " ".join(["a red balloon"] * 20) + " at night"
    [note] = run("draw", prompt, "-o", "a.png", *FAST).notes
    assert "is longer than" in note
    assert note.endswith("at night'")


def test_words_that_the_miniature_never_learned_are_told(run: Run, here: Path) -> None:
    prompt = "the Elephant, with its red balloon and two zebras in a forest"
    done = run("draw", prompt, "-o", "a.png", "--json", *FAST)
    [note] = done.facts["notes"]
    assert done.notes == [note]
    assert "these words: elephant, zebras;" in note


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.jpg"], "'a.jpg' cannot hold a still"),
        (["-o", "taken.png/a.png"], "is a file, not a folder"),
        (["-o", "folder.png"], "'folder.png' is a folder"),
        (["-o", "a.png", "--width", "63"], "width is 63 pixels; it must be a multiple of"),
        (["-o", "a.png", "--steps", "2000"], "at most 999"),
        (["-o", "a.png", "--seed", "-3"], "--seed is -3; give a number from 0 up"),
        (
            ["-o", "a.png", "--count", "2", "--seed", str(2**63 - 1)],
            "The seed is 92233720",
        ),
        (["-o", "a.png", "--count", "0"], "Invalid value for '--count'"),
        (["-o", "a.png", "--guidance", "-1"], "Invalid value for '--guidance'"),
        (["-o", "a.png", "--model", "nothing"], "unknown model 'nothing'"),
        (["-o", "a.png", "--model", "nobody/nothing"], "add --download"),
        (["-o", "a.png", "--model", "folder.png"], "has no model_index.json"),
        (["-o", "a.png", "--look", "gothic"], "has no look 'gothic'; it has: plain, "),
        (["-o", "a.png", "--model", "miniature@neon", "--look", "sketch"], "two looks are named"),
        (["-o", "a.png", "--device", "gpu"], "The device 'gpu' is unknown"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path
) -> None:
    (here / "folder.png").mkdir()
    (here / "taken.png").write_text("a file")
    assert said in run("draw", PROMPT, *options).error
    assert {path.name for path in here.rglob("*")} == {"folder.png", "taken.png"}


@pytest.mark.parametrize("taken", ["a-2.png", "a-2.latents.safetensors", "a-2.png.json"])
def test_nothing_is_overwritten_without_force(taken: str, run: Run, here: Path) -> None:
    (here / taken).write_text("precious")
    command = ["draw", PROMPT, "--count", "2", "-o", "a.png", *FAST]
    assert f"'{taken}' exists already" in run(*command).error
    assert [path.name for path in here.iterdir()] == [taken]
    assert (here / taken).read_text() == "precious"
    assert run(*command, "--force").code == 0
    assert Still.load(here / "a-2.png").latents is not None


def test_a_full_disk_leaves_nothing(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    failed = run("draw", PROMPT, "-o", "a.png", *FAST)
    assert "no space left" in failed.error
    assert list(here.iterdir()) == []


def test_an_unwritable_folder_is_seen_before_drawing(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "locked").mkdir()
    # As root, who may write everywhere, runs some of the tests.
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).endswith("locked"))
    (here / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "you may not write to the folder" in run("draw", PROMPT, "-o", "locked/a.png").error
