"""`stillmotion animate`: stills that were drawn here, photographs, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.apps.conftest import Run, check_refused, copy_still, save_picture

from stillmotion import load_clip
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import load_image
from stillmotion.media.tensors import load_latents

pytestmark = pytest.mark.usefixtures("loaded_once")
FAST = ("--frames", "2", "--seed", "1", "-q")
PHOTO = ("--steps", "2", *FAST)
AS_PHOTOGRAPH = "animated as a photograph"


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.webm", "a.gif", "a.webp", "a.SAFETENSORS", "frames", "deep/er/a.gif"]
)
def test_every_format_carries_its_record(name: str, run: Run, here: Path, still: Path) -> None:
    done = run("animate", still, "a red balloon rising", "-o", name, "--json", *FAST)
    assert done.code == 0
    assert done.err == ""
    assert done.facts["first_frame_is_the_still"]
    clip, record = load_clip(name), read_provenance(name)
    assert clip.frames.shape == (2, *load_image(still).shape)
    assert (record.kind, record.method, record.seed) == ("clip", "animatezero", 1)
    assert record.prompt == "a red balloon rising"
    assert Path(done.facts["record"]).read_text() == record.to_json() + "\n"
    assert record.output is not None
    if record.output.lossless:
        np.testing.assert_array_equal(clip.frames[0], load_image(still))
    if name.endswith("SAFETENSORS"):
        assert load_latents(Path(name)).shape[:3:2] == (1, 2)


def test_a_still_is_animated_with_its_own_prompt_model_and_look(
    run: Run, here: Path, neon_still: Path
) -> None:
    facts = run("animate", neon_still, "-o", "a.gif", "--json", *FAST).facts
    assert facts["model"] == "miniature@neon"
    assert facts["prompt"] == "neon, a red balloon over green hills"
    assert not facts["photograph"]
    named = run("animate", neon_still, "--model", "miniature", "-o", "b.gif", "--json", *FAST)
    assert named.facts["model"] == "miniature@neon"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--look", "sketch"], "'miniature@neon', and its latents fit no other model"),
        (["--look", "plain"], "(now: 'miniature')"),
        (["--model", "miniature@sketch"], "(now: 'miniature@sketch')"),
        (["--steps", "5"], "was drawn in 2 steps"),
    ],
)
def test_what_contradicts_the_latents_is_refused(
    options: list[str], said: str, run: Run, here: Path, neon_still: Path
) -> None:
    failed = run("animate", neon_still, "-o", "a.gif", *options, *FAST)
    assert said in failed.error
    assert "--photograph" in failed.error
    assert list(here.iterdir()) == []
    allowed = run("animate", neon_still, "-o", "a.gif", "--photograph", *options, *FAST)
    assert allowed.code == 0
    assert AS_PHOTOGRAPH in allowed.notes[-1]


def test_words_for_people(run: Run, here: Path, still: Path) -> None:
    done = run("animate", still, "-o", "a.gif", "--frames", "3", "--seed", "9")
    assert done.out == "a.gif  (3 frames, seed 9; the first frame is the still)\n"
    assert done.err.splitlines()[-1] == "animate 2/2"


def test_lost_latents_are_told(run: Run, here: Path, still: Path) -> None:
    lost = copy_still(still, here)
    (here / "plain.latents.safetensors").unlink()
    done = run("animate", lost, "-o", "a.gif", *FAST)
    assert done.code == 0
    lost_latents = (
        "'plain.png' was drawn, but 'plain.latents.safetensors' is not beside it any more"
    )
    assert done.notes[0] == lost_latents
    assert AS_PHOTOGRAPH in done.notes[-1]


def test_an_empty_prompt_is_told(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    assert "the prompt is empty" in run("animate", "p.png", "-o", "a.gif", *PHOTO).notes[0]


def test_a_frame_of_a_clip_is_a_photograph(run: Run, here: Path, still: Path) -> None:
    assert run("animate", still, "-o", "frames", *FAST).code == 0
    frame = sorted((here / "frames").iterdir())[-1]
    done = run("animate", frame, "a cat", "-o", "a.webp", *PHOTO)
    assert done.code == 0
    np.testing.assert_array_equal(load_clip("a.webp").frames[0], load_image(frame))


@pytest.mark.parametrize(
    ("options", "method", "exact"),
    [
        (["--ablation", "a"], "animatediff", False),
        (["--ablation", "b"], "animatezero", True),
        (["--insert-latents", "off", "--share-kv", "off", "--window", "off"], "animatediff", False),
        (["--ablation", "a", "--share-kv", "on"], "animatezero", False),
        (["--kv-source", "still", "--window-blocks", "down,up"], "animatezero", True),
    ],
)
def test_parts_of_the_method(
    options: list[str], method: str, exact: bool, run: Run, here: Path, still: Path
) -> None:
    facts = run("animate", still, "-o", "a.gif", "--json", *options, *FAST).facts
    assert facts["method"] == read_provenance("a.gif").method == method
    assert facts["first_frame_is_the_still"] is exact


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.avi"], "'a.avi' has the unknown ending '.avi'"),
        (["-o", "a.png"], "give a folder"),
        (["-o", "taken.gif"], "'taken.gif' exists already"),
        (["-o", "taken.gif/a.gif"], "is a file, not a folder"),
        (["-o", "folder"], "'folder' exists already"),
        (["-o", "folder.gif"], "'folder.gif' is a folder"),
        (["-o", "b.gif"], "'b.gif.json' exists already"),
        (["-o", "a.gif", "--fps", "0"], "fps is 0.0; give a number above 0"),
        (["-o", "a.gif", "--fps", "nan"], "fps is nan"),
        (["-o", "a.gif", "--fps", "0.001"], "fps must be at least"),
        (["-o", "a.gif", "--fps", "1000"], "at most 50 frames per second"),
        (["-o", "a.gif", "--scale", "5000"], "choose a smaller scale or fewer frames"),
        (["-o", "a.gif", "--seed", "-1"], "--seed is -1; give a number from 0 up"),
        (["-o", "a.gif", "--ablation", "f"], "it can be a, b, c, d or e"),
        (["-o", "a.gif", "--window", "open"], "it can be off, uncorrected or corrected"),
        (["-o", "a.gif", "--window-blocks", "down,in"], "it can be down, mid or up"),
        (["-o", "a.gif", "--share-kv", "yes"], "--share-kv is 'yes'; it can be on or off"),
        (["-o", "a.gif", "--model", "nothing"], "unknown model 'nothing'"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path, still: Path
) -> None:
    for name in ("taken.gif", "b.gif.json"):
        (here / name).write_text("precious")
    (here / "folder").mkdir()
    (here / "folder" / "letter.txt").write_text("precious")
    (here / "folder.gif").mkdir()
    check_refused(run, here, said, "animate", still, *options)
    assert (here / "taken.gif").read_text() == "precious"


def test_pictures_that_cannot_be_used(run: Run, here: Path, still: Path) -> None:
    assert "there is nothing to animate" in run("animate", "-o", "a.gif").error
    assert "there is no 'none.png'" in run("animate", "none.png", "-o", "a.gif").error
    (here / "bad.png").write_bytes(still.read_bytes()[:500])
    assert "damaged or cut short" in run("animate", "bad.png", "-o", "a.gif").error
    (here / "text.png").write_text("no picture")
    assert "damaged; convert it first" in run("animate", "text.png", "-o", "a.gif").error
    assert "is a folder" in run("animate", here, "-o", "a.gif").error


def test_wrong_and_damaged_latents(run: Run, here: Path, still: Path, neon_still: Path) -> None:
    mixed = copy_still(still, here)
    latents = here / "plain.latents.safetensors"
    latents.write_bytes(neon_still.with_name("neon.latents.safetensors").read_bytes())
    assert "belongs to another picture" in run("animate", mixed, "-o", "a.gif").error
    latents.write_bytes(still.with_name("plain.latents.safetensors").read_bytes()[:300])
    assert "is damaged" in run("animate", mixed, "-o", "a.gif").error


def test_a_model_that_is_not_at_hand(run: Run, here: Path, tmp_path: Path) -> None:
    """A record has only the last part of a folder's name: elsewhere the folder must be given."""
    known = {facts["name"]: facts for facts in run("models", "--json").facts["models"]}
    model = tmp_path / "mine"
    model.symlink_to(known["miniature"]["path"])
    command = ["draw", "a cat", "--look", "neon", "--steps", "2", "-o", "s.png", "-q"]
    assert run(*command, "--model", model).code == 0
    assert read_provenance("s.png").model.name == "mine@neon"
    assert "say where it is with --model" in run("animate", "s.png", "-o", "a.gif", *FAST).error
    done = run("animate", "s.png", "-o", "a.gif", "--model", model, *FAST)
    assert done.code == 0
    assert read_provenance("a.gif").model.name == "mine@neon"
