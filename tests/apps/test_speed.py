"""`--speed` of the commands: said, recorded, and made again; and modules for few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.apps.conftest import Run, copy_still, files
from tests.apps.test_dynamicrafter import drawn as drawn_picture
from tests.apps.test_dynamicrafter import saved
from tests.tiny_models import tiny_pipeline

from stillmotion import Still, load_clip
from stillmotion.animatezero.assembly import renamed_scheduler
from stillmotion.animatezero.loading import load_model
from stillmotion.diffusion.speed import SPEEDS, SpeedSettings
from stillmotion.errors import InputError
from stillmotion.jobs.records import ClipRecipe
from stillmotion.media.clips import read_provenance
from stillmotion.models.motion_files import load_motion_adapter, save_motion_module
from stillmotion.models.registry import miniature_folder

HILLS = "a red balloon over green hills"
DRAW = ("--steps", "4", "--seed", "1", "-q")
FAST = ("--frames", "3", "--seed", "2", "-q")


@pytest.fixture(scope="module")
def four_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still of four steps, enough for every preset to differ."""
    folder = tmp_path_factory.mktemp("four")
    model = load_model("miniature")
    sampling = replace(model.drawing, num_inference_steps=4)
    [still] = model.drawing_pipeline.draw(HILLS, seeds=[1], sampling=sampling)
    still.save(folder / "exact.png")
    return folder / "exact.png"


@pytest.mark.usefixtures("loaded_once")
def test_a_fast_clip_says_so_and_is_made_again(run: Run, here: Path, four_steps: Path) -> None:
    own = copy_still(four_steps, here)
    made = run("animate", own, "-o", "a.webp", "--speed", "turbo", "--json", *FAST)
    assert made.code == 0, made.err
    assert made.facts["speed"] == "turbo"
    assert made.facts["first_frame_is_the_still"]
    assert any("--speed turbo approximates" in note for note in made.notes)
    told = read_provenance("a.webp").settings["speed"]
    assert told["name"] == "turbo"
    assert SpeedSettings.from_record(told) == SPEEDS["turbo"]
    (here / "exact.png").unlink()  # the still is drawn again from its own recipe
    assert run("animate", "--from", "a.webp", "-o", "b.webp", "-q").code == 0
    assert files(Path("a.webp")) == files(Path("b.webp"))
    again = run("animate", "--from", "a.webp", "-o", "c.webp", "--speed", "exact", "-q")
    assert again.code == 0
    assert again.notes == []
    exact = run("animate", four_steps, "-o", "d.webp", *FAST)
    assert exact.code == 0
    assert files(Path("c.webp")) == files(Path("d.webp")) != files(Path("a.webp"))
    assert "speed" not in read_provenance("d.webp").settings


@pytest.mark.usefixtures("loaded_once")
def test_exact_is_the_default_and_leaves_no_trace(run: Run, here: Path, four_steps: Path) -> None:
    assert run("animate", four_steps, "-o", "a.webp", *FAST).code == 0
    made = run("animate", four_steps, "-o", "b.webp", "--speed", "exact", "--json", *FAST)
    assert made.facts["speed"] == "exact"
    assert files(Path("a.webp")) == files(Path("b.webp"))
    # Records from before there were presets are like those of exact clips.
    old = read_provenance("a.webp")
    assert ClipRecipe.from_record(old, Path("a.webp")).speed is None


def test_a_fast_still_says_so_and_is_drawn_again(run: Run, here: Path, four_steps: Path) -> None:
    made = run("draw", HILLS, "-o", "s.png", "--speed", "fast", *DRAW)
    assert made.code == 0, made.err
    still = Still.load(Path("s.png"))
    assert still.speed == SPEEDS["fast"]
    assert read_provenance("s.png").settings["speed"]["name"] == "fast"
    exact = Still.load(four_steps)
    assert exact.speed == SPEEDS["exact"]
    assert "speed" not in read_provenance(four_steps).settings
    assert not np.array_equal(still.image, exact.image)
    # A clip of it is exact, unless it is asked otherwise, and knows how to draw the still again.
    assert run("animate", "s.png", "-o", "a.webp", *FAST).code == 0
    record = read_provenance("a.webp")
    assert "speed" not in record.settings
    assert record.still is not None
    assert record.still.settings["speed"]["name"] == "fast"
    for path in here.glob("s.*"):
        path.unlink()
    assert run("animate", "--from", "a.webp", "-o", "b.webp", "-q").code == 0
    assert files(Path("a.webp")) == files(Path("b.webp"))


def test_unknown_speeds_are_refused(run: Run, here: Path, still: Path) -> None:
    assert "'warp'" in (said := run("animate", still, "-o", "a.gif", "--speed", "warp").error)
    assert "exact" in said
    assert "turbo" in said


@pytest.mark.parametrize(
    "said",
    [
        {"name": "fast"},
        {"guidance_interval": [0, 2], "reuse_every": 2, "kept_skips": 1},
        {"guidance_interval": ["a", 1], "reuse_every": 2, "kept_skips": 1},
        {"guidance_interval": [0, 1], "reuse_every": 0, "kept_skips": 1},
    ],
)
def test_damaged_records_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"damaged|guidance_interval|reuse_every"):
        SpeedSettings.from_record(said)


def test_own_values_are_recorded_as_such() -> None:
    own = SpeedSettings(reuse_every=7, kept_skips=2)
    told = own.record()
    assert told is not None
    assert told["name"] == "own"
    assert SpeedSettings.from_record(json.loads(json.dumps(told))) == own
    assert SpeedSettings(kept_skips=3).record() is None


def test_dynamicrafter_clips_say_so_too(run: Run, here: Path) -> None:
    model, picture = saved(here / "tiny-dc"), drawn_picture(here / "p.png", 0)
    given = (picture, "a ball", "--model", model, "--seed", "3", "--steps", "4")
    made = run("animate", *given, "-o", "a.webp", "--speed", "fast", "--json", "-q")
    assert made.code == 0, made.err
    assert made.facts["speed"] == "fast"
    assert read_provenance("a.webp").settings["speed"]["name"] == "fast"
    again = ("--from", "a.webp", "--model", model, "-q")
    assert run("animate", picture, *again, "-o", "b.webp").code == 0
    assert files(Path("a.webp")) == files(Path("b.webp"))
    assert run("animate", picture, *again, "--speed", "exact", "-o", "c.webp").code == 0
    assert run("animate", *given, "-o", "d.webp", "-q").code == 0
    assert files(Path("c.webp")) == files(Path("d.webp")) != files(Path("a.webp"))
    assert "speed" not in read_provenance("d.webp").settings


def test_shots_of_a_story(run: Run, here: Path) -> None:
    shots = f"[{{draw: {HILLS}, prompt: a red balloon rising, speed: turbo}}]"
    script = f"defaults: {{steps: 4, frames: 2, look: plain}}\nshots: {shots}\n"
    (here / "s.yaml").write_text(script, encoding="utf-8")
    done = run("story", "s.yaml", "-o", "film.webp", "-q")
    assert done.code == 0, done.err
    [shot] = here.glob("film.shots/shot-*.safetensors")
    record = read_provenance(shot)
    assert record.settings["speed"]["name"] == "turbo"
    assert record.still is not None
    assert record.still.settings["speed"]["name"] == "turbo"
    (here / "s.yaml").write_text(script.replace("turbo", "warp"), encoding="utf-8")
    assert "speed" in run("story", "s.yaml", "-o", "b.webp", "-q").error


LIGHTNING = "animatediff_lightning_4step_diffusers.safetensors"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature's motion module under the name of one for few steps."""
    adapter = load_motion_adapter(miniature_folder() / "motion_adapter").adapter
    path = tmp_path_factory.mktemp("modules") / LIGHTNING
    save_motion_module(adapter, path)
    return path


@pytest.mark.parametrize(
    ("scheduler", "steps"), [("euler-trailing", 4), ("lcm", 4), ("lcm", 1), ("euler-trailing", 2)]
)
def test_modules_for_few_steps(
    run: Run, here: Path, still: Path, module: Path, scheduler: str, steps: int
) -> None:
    """In few steps without guidance, frame 1 exact, from a still of another number of steps."""
    done = run("animate", still, "a red balloon rising", "--photograph", "--motion", module,
               "--scheduler", scheduler, "--steps", str(steps), "--guidance", "1",
               "-o", "a.safetensors", "--json", *FAST)  # fmt: skip
    assert done.code == 0, done.err
    assert done.facts["first_frame_is_the_still"]
    np.testing.assert_array_equal(load_clip("a.safetensors").frames[0], Still.load(still).image)
    told = read_provenance("a.safetensors").settings
    assert told["sampling"]["guidance_scale"] == 1
    assert told["sampling"]["num_inference_steps"] == steps
    assert told["ingredients"] == {"motion": LIGHTNING, "scheduler": scheduler}
    meant = (scheduler, steps) == ("euler-trailing", 4)
    hints = [note for note in done.notes if "named like a module for few steps" in note]
    assert len(hints) == (0 if meant else 1)
    assert all("--scheduler euler-trailing --steps 4 --guidance 1" in hint for hint in hints)


def test_trailing_steps_begin_at_pure_noise() -> None:
    scheduler = renamed_scheduler(tiny_pipeline().scheduler, "euler-trailing")
    scheduler.set_timesteps(4)
    assert [int(t) for t in scheduler.timesteps] == [999, 749, 499, 249]
