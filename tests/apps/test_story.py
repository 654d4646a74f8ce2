"""`stillmotion story`: films of the miniature and of tiny random networks, made and continued."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.apps.conftest import Outcome, Run, save_picture
from tests.apps.test_dynamicrafter import saved
from tests.dynamicrafter.tiny_pipeline import SIZE

from stillmotion import Still, load_clip
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.jobs import animating
from stillmotion.jobs.story_folder import key_of
from stillmotion.jobs.story_making import StorySettings, make_film
from stillmotion.media.clips import read_provenance
from stillmotion.media.fit import fit_picture
from stillmotion.media.images import load_image

HILLS = "a red balloon over green hills"
THREE = f"""
title: A balloon's day
seed: 5
defaults: {{steps: 2, frames: 4}}
shots:
  - title: Morning
    draw: {HILLS}
    prompt: a red balloon rising over green hills
  - continue: true
    prompt: a red balloon falling over green hills
  - image: photo.png
    title: Noon
    prompt: a blue fish
    transition: {{crossfade: 2}}
"""
_LOADED: dict[str, LoadedModel] = {}


@pytest.fixture(autouse=True)
def _models_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes a good part of the time; the tests leave the models as they were."""

    def load(reference: str, **options: Any) -> LoadedModel:
        key = repr((reference, sorted(options.items())))
        if key not in _LOADED:
            _LOADED[key] = load_model(reference, **options)
        return _LOADED[key]

    monkeypatch.setattr("stillmotion.jobs.story_shots.load_model", load)


@pytest.fixture(scope="module")
def crafter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny-dc")


@pytest.fixture(scope="module")
def interpolating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny-ends", interpolates=True)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a script and all that was made of it; not to be written to."""
    folder = tmp_path_factory.mktemp("filmed")
    written(folder, THREE)
    make_film(folder / "story.yaml", folder / "film.mp4")
    return folder


@pytest.fixture
def film(filmed: Path, here: Path) -> Path:
    """The same in the working folder, to be changed."""
    shutil.copytree(filmed, here, dirs_exist_ok=True)
    return here


def written(folder: Path, script: str) -> Path:
    save_picture(folder / "photo.png", 64, 64)
    path = folder / "story.yaml"
    path.write_text(script, encoding="utf-8")
    return path


def shots_in(folder: Path) -> list[Path]:
    return sorted((folder / "film.shots").glob("shot-*.safetensors"))


def made(done: Outcome) -> list[int]:
    """The numbers of the shots that a run made."""
    assert done.code == 0, done.err
    return [row["number"] for row in done.facts["shots"] if row["was_made"]]


def again(run: Run) -> Outcome:
    return run("story", "story.yaml", "-o", "film.mp4", "--force", "--json", "-q")


# A film of three shots


def test_the_film_has_its_length_and_chapters(filmed: Path) -> None:
    # 4, then 4 without the frame shared with those before, then 4 of which 2 overlap.
    with av.open(str(filmed / "film.mp4")) as video:
        stream = video.streams.video[0]
        assert len(list(video.decode(stream))) == 4 + 3 + 4 - 2
        assert stream.average_rate == 8
        assert Fraction(stream.duration * stream.time_base) == Fraction(9, 8)
    assert (filmed / "film.chapters.vtt").read_text() == (
        "WEBVTT\n\n"
        "1\n00:00:00.000 --> 00:00:00.500\nMorning\n\n"
        "2\n00:00:00.500 --> 00:00:00.625\na red balloon falling over green hills\n\n"
        "3\n00:00:00.625 --> 00:00:01.125\nNoon\n"
    )


def test_the_frames_are_those_of_the_shots(run: Run, film: Path) -> None:
    assert run("story", "story.yaml", "-o", "film.webp", "-q").code == 0
    frames = load_clip("film.webp").frames
    first, second, third = (load_clip(path).frames for path in shots_in(film))
    np.testing.assert_array_equal(second[0], first[-1])
    np.testing.assert_array_equal(frames[:4], first)
    np.testing.assert_array_equal(frames[4], second[1])
    mixed = (second[2].astype(float) * 2 + third[0].astype(float)) / 3
    np.testing.assert_array_equal(frames[5], np.floor(mixed + 0.5))
    np.testing.assert_array_equal(frames[7:], third[2:])
    np.testing.assert_array_equal(third[0], load_image(film / "photo.png"))


def test_the_record_tells_all(filmed: Path) -> None:
    record = read_provenance(filmed / "film.mp4")
    assert (record.kind, record.method, record.prompt) == ("clip", "story", "A balloon's day")
    assert (record.model.name, record.seed) == ("miniature", 5)
    shots: Any = record.settings["shots"]
    assert [shot["title"] for shot in shots] == ["Morning", None, "Noon"]
    assert [(shot["start"], shot["stop"]) for shot in shots] == [(0, 4), (4, 7), (5, 9)]
    assert shots[2]["transition"] == {"kind": "crossfade", "num_frames": 2}
    assert [shot["clip"]["seed"] for shot in shots] == [5, 6, 7]
    assert shots[0]["clip"]["still"]["prompt"] == HILLS
    for shot, path in zip(shots, shots_in(filmed), strict=True):
        kept = read_provenance(path)
        assert shot["clip"] == kept.model_copy(update={"output": None}).model_dump(mode="json")
    assert record.inputs[2].role == "shot 3: still"
    assert record.inputs[2].name == "photo.png"


def test_keys_are_those_of_the_records(filmed: Path) -> None:
    """The black stand-ins of the check lead to the keys that the real stills have."""
    [still] = (filmed / "film.shots").glob("still-*.png")
    assert still.stem == f"still-01-{key_of(Still.load(still).provenance())}"
    photographed = shots_in(filmed)[2]
    assert photographed.stem == f"shot-03-{key_of(read_provenance(photographed))}"


def test_the_same_script_gives_the_same_bytes(film: Path) -> None:
    shutil.rmtree(film / "film.shots")
    make_film(film / "story.yaml", film / "film2.mp4", StorySettings(folder=film / "elsewhere"))
    assert (film / "film2.mp4").read_bytes() == (film / "film.mp4").read_bytes()
    assert not (film / "film.shots").exists()


def test_no_part_of_a_film_is_animated_as_if_it_were_a_still(run: Run, film: Path) -> None:
    said = "was made by `stillmotion story` from several shots"
    assert said in run("animate", "--from", "film.mp4", "-o", "a.mp4").error
    options = ("--from", "film.mp4", "--method", "dynamicrafter", "-o", "a.mp4")
    assert said in run("animate", "photo.png", *options).error


# Going on


def test_nothing_is_made_twice(run: Run, film: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (film / "film.shots").iterdir()}
    former = (film / "film.mp4").read_bytes()
    assert "'film.mp4' exists already" in run("story", "story.yaml", "-o", "film.mp4").error
    assert made(again(run)) == []
    assert before == {path: path.stat().st_mtime_ns for path in (film / "film.shots").iterdir()}
    assert (film / "film.mp4").read_bytes() == former


def test_what_is_missing_is_made(run: Run, film: Path) -> None:
    former = (film / "film.mp4").read_bytes()
    first, second, third = shots_in(film)
    second.unlink()
    third.write_bytes(third.read_bytes()[:-100])
    assert made(again(run)) == [2, 3]
    assert shots_in(film) == [first, second, third]
    assert (film / "film.mp4").read_bytes() == former


@pytest.mark.parametrize(
    ("old", "new", "numbers"),
    [
        (f"draw: {HILLS}", "draw: a red balloon over a grey city", [1, 2]),
        ("a red balloon rising over green hills", "a red balloon falling", [1, 2]),
        ("falling over green hills", "rising", [2]),
        ("prompt: a blue fish", "prompt: a blue fish\n    motion_strength: 0.5", [3]),
        ("prompt: a blue fish", "prompt: a blue fish\n    seed: 99", [3]),
        ("seed: 5", "seed: 6", [1, 2, 3]),
        ("title: Noon", "title: Midday", []),
        ("crossfade: 2", "fade: 1", []),
        ("seed: 5", "seed: 5\nfps: 12", []),
    ],
)
def test_what_was_changed_is_made_again(
    run: Run, film: Path, old: str, new: str, numbers: list[int]
) -> None:
    assert THREE.count(old) == 1
    written(film, THREE.replace(old, new))
    done = run("story", "story.yaml", "-o", "film.mp4", "--dry-run", "--json", "-q")
    assert done.code == 0, done.err
    assert [row["number"] for row in done.facts["shots"] if row["is_missing"]] == numbers


def test_a_changed_picture_is_another_shot(run: Run, film: Path) -> None:
    save_picture(film / "photo.png", 64, 72)
    assert made(again(run)) == [3]
    save_picture(film / "photo.png", 64, 64)
    assert made(again(run)) == []


def test_shots_keep_their_keys_when_others_come_and_go(run: Run, film: Path) -> None:
    script = THREE.replace("title: Noon", "title: Noon\n    seed: 7")
    first = script.index("  - title: Morning")
    written(film, script[:first] + script[script.index("  - image") :].replace("{crossfade: 2}",
            "cut"))  # fmt: skip
    done = again(run)
    assert made(done) == []
    assert done.facts["num_frames"] == 4


def test_an_interrupted_film_goes_on(run: Run, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = (film / "film.mp4").read_bytes()
    shutil.rmtree(film / "film.shots")
    (film / "film.mp4").unlink()
    (film / "film.mp4.json").unlink()
    (film / "film.chapters.vtt").unlink()
    calls = []

    def interrupted(model: Any, request: Any, progress: Callable[[int, int], None]) -> Any:
        calls.append(request.output.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return animate(model, request, progress)

    animate = animating.animate
    monkeypatch.setattr(animating, "animate", interrupted)
    command = ("story", "story.yaml", "-o", "film.mp4", "--json", "-q")
    stopped = run(*command)
    assert stopped.code == 130
    assert "the same command goes on from there" in stopped.err
    assert len(shots_in(film)) == 1
    assert not (film / "film.mp4").exists()
    assert not (film / "film.chapters.vtt").exists()
    assert made(run(*command)) == [2, 3]
    assert len(calls) == 4
    assert (film / "film.mp4").read_bytes() == former


# The plan


def test_a_plan_makes_nothing(run: Run, here: Path) -> None:
    written(here, THREE)
    before = sorted(here.rglob("*"))
    done = run("story", "story.yaml", "-o", "film.mp4", "--dry-run")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "film.mp4  (3 shots, 9 frames, 1.12 s, 64 x 64 pixels)"
    assert "2  00:00:00.500 - 00:00:00.875    3 frames  animatezero, miniature, seed 6" in lines[2]
    assert "(to be made)  Noon" in lines[3]
    assert sorted(here.rglob("*")) == before
    assert "shot 2: the picture is animated as a photograph" in "".join(done.notes)


def test_progress_is_told_shot_by_shot(run: Run, film: Path) -> None:
    shots_in(film)[2].unlink()
    done = run("story", "story.yaml", "-o", "film.mp4", "--force")
    assert [line for line in done.err.splitlines() if line.startswith("shot 3/3, animate 2/2")]
    assert "shot 1/3" not in done.err
    assert "(made)  Noon" in done.out
    assert "(finished before)  Morning" in done.out


# Sizes, looks and methods


def test_every_shot_comes_to_the_size_of_the_film(run: Run, here: Path) -> None:
    script = """
        width: 48
        height: 30
        scale: 2
        defaults: {steps: 2, frames: 2}
        shots: [{image: photo.png, prompt: a star}, {draw: a star, look: neon}]
    """
    written(here, script)
    done = run("story", "story.yaml", "-o", "film.safetensors", "--json", "-q")
    assert made(done) == [1, 2]
    assert (done.facts["width"], done.facts["height"]) == (96, 60)
    frames = load_clip("film.safetensors").frames
    assert frames.shape == (4, 60, 96, 3)
    clips = [load_clip(path).frames for path in shots_in(here)]
    fitted = [fit_picture(frame, (30, 48))[0] for clip in clips for frame in clip]
    np.testing.assert_array_equal(frames[:, ::2, ::2], np.stack(fitted))
    # What is drawn is drawn in the shape of the film.
    assert clips[0].shape[1:3] == (64, 64)
    assert clips[1].shape[2] > clips[1].shape[1]
    assert [row["model"] for row in done.facts["shots"]] == ["miniature", "miniature@neon"]


def test_both_methods_in_one_film(run: Run, here: Path, crafter: Path, interpolating: Path) -> None:
    script = f"""
        defaults: {{steps: 2, frames: 3, motion_strength: 0.5, exact_first_frame: true}}
        shots:
          - {{draw: a star, look: neon, model: "{crafter}", conditioning_fps: 12,
             gate_scale: ["0:2"]}}
          - {{continue: true, prompt: a star turning}}
          - {{image: photo.png, last_frame: last.png, model: "{interpolating}", transition: cut}}
          - {{image: photo.png, last_frame: last.png, prompt: a star}}
    """
    written(here, script)
    save_picture(here / "last.png", 40, 40)
    done = run("story", "story.yaml", "-o", "film.webp", "--json", "-q")
    assert made(done) == [1, 2, 3, 4]
    methods = [row["method"] for row in done.facts["shots"]]
    assert methods == ["dynamicrafter", "animatezero", "dynamicrafter", "animatezero"]
    assert load_clip("film.webp").frames.shape == (3 + 2 + 3 + 3, SIZE, SIZE, 3)
    first, second, _, fourth = (load_clip(path).frames for path in shots_in(here))
    [still] = (here / "film.shots").glob("still-*.png")
    np.testing.assert_array_equal(first[0], fit_picture(load_image(still), (SIZE, SIZE))[0])
    assert second[0].shape == (64, 64, 3)
    assert fourth[0].shape == (64, 64, 3)
    record = read_provenance("film.webp")
    assert record.model.name == "miniature + tiny-dc + tiny-ends"
    told: Any = [shot["clip"]["settings"] for shot in record.settings["shots"]]  # type: ignore
    assert told[0]["dynamicrafter"]["conditioning_fps"] == 12
    assert told[0]["dynamicrafter"]["exact_first_frame"]
    assert told[0]["dynamicrafter"]["gate_scales"] == {"0": 2}
    assert told[1]["control"]["motion_strength"] == 0.5
    assert [told[2]["end"], told[3]["end"]] == ["picture", "still"]
    assert made(run("story", "story.yaml", "-o", "film.webp", "--json", "-q", "--force")) == []


def test_a_model_with_rounded_weights_is_loaded_anew(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan "tiny" stores the U-Net in 8 bits for good, which must not reach the next shot."""
    monkeypatch.setattr("stillmotion.jobs.story_shots.load_model", load_model)
    script = "defaults: {steps: 2, frames: 2}\nshots: [{draw: a star}, {draw: a red cat}]"
    written(here, script)
    done = run("story", "story.yaml", "-o", "f.webp", "--memory", "tiny", "--json", "-q")
    assert made(done) == [1, 2]
    assert run("draw", "a red cat", "--steps", "2", "--seed", "1", "-o", "c.png", "-q").code == 0
    [still] = (here / "f.shots").glob("still-02-*.png")
    assert still.read_bytes() == (here / "c.png").read_bytes()
