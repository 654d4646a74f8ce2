"""`stillmotion animate` with a DynamiCrafter model, on tiny random networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apps.conftest import Run
from tests.dynamicrafter.tiny_pipeline import SIZE, tiny_dynamicrafter

from stillmotion import load_clip
from stillmotion.media.clips import read_provenance

DESCRIPTION = {"num_frames": 4, "num_inference_steps": 3, "guidance_scale": 5.0,
               "negative_prompt": "bad", "guidance_rescale": 0.7}  # fmt: skip


def saved(folder: Path, **changes: object) -> Path:
    tiny_dynamicrafter(**changes).save_pretrained(folder)
    (folder / "stillmotion.json").write_text(json.dumps(DESCRIPTION), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny-dc")


@pytest.fixture(scope="module")
def interpolating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "tiny-ends", interpolates=True)


@pytest.fixture
def picture(here: Path) -> Path:
    return drawn(here / "p.png", 0)


def drawn(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_clip_with_its_record(run: Run, model: Path, picture: Path) -> None:
    done = run("animate", picture, "a ball", "--model", model, "-o", "a.webp", "--seed", "3",
               "--conditioning-fps", "12", "--image-guidance", "2", "--json", "-q")  # fmt: skip
    assert done.code == 0, done.err
    assert done.facts["method"] == "dynamicrafter"
    assert load_clip("a.webp").frames.shape == (4, SIZE, SIZE, 3)
    record = read_provenance("a.webp")
    assert (record.method, record.seed, record.prompt) == ("dynamicrafter", 3, "a ball")
    assert record.model.name == "tiny-dc"
    told = record.settings["dynamicrafter"]
    assert told["conditioning_fps"] == 12
    assert told["image_guidance_scale"] == 2
    assert (told["num_inference_steps"], told["guidance_rescale"]) == (3, 0.7)
    assert record.negative_prompt == "bad"


def test_the_record_makes_it_again(run: Run, model: Path, picture: Path) -> None:
    command = ("animate", picture, "--model", model, "-q")
    run(*command, "a ball", "-o", "a.webp", "--seed", "3", "--frames", "2", "--eta", "0.5")
    again = run(*command, "--from", "a.webp", "-o", "b.webp")
    assert (again.code, again.err) == (0, "")
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()
    assert run(*command, "--from", "a.webp", "-o", "c.webp", "--eta", "1").code == 0
    assert (load_clip("a.webp").frames != load_clip("c.webp").frames).any()
    other = drawn(Path("q.png"), 9)
    done = run("animate", other, "--from", "a.webp", "--model", model, "-o", "d.webp", "-q")
    assert "'q.png' is not the picture that 'a.webp' was made from" in done.err


def test_several_with_progress_and_exact_frames(run: Run, model: Path, picture: Path) -> None:
    done = run("animate", picture, "a", "--model", model, "-o", "a.webp", "--count", "2",
               "--seed", "5", "--exact-first-frame", "--memory", "tiny")  # fmt: skip
    assert done.code == 0
    assert done.err.splitlines()[-1] == "animate 6/6"
    assert "a-2.webp  (4 frames, seed 6; the first frame is the picture)" in done.out
    first, second = (load_clip(f"a-{n}.webp").frames for n in (1, 2))
    np.testing.assert_array_equal(first[0], second[0])
    assert (first[1:] != second[1:]).any()


def test_gates_are_scaled_and_recorded(run: Run, model: Path, picture: Path) -> None:
    command = ("animate", picture, "a ball", "--model", model, "--seed", "3", "-q")
    assert run(*command, "-o", "a.webp").code == 0
    assert run(*command, "-o", "b.webp", "--gate-scale", "0:0", "--gate-scale", "1:0").code == 0
    told = read_provenance("b.webp").settings["dynamicrafter"]["gate_scales"]
    assert told == {"0": 0.0, "1": 0.0}
    assert (load_clip("a.webp").frames != load_clip("b.webp").frames).any()
    assert run("animate", picture, "--model", model, "--from", "b.webp", "-o", "c.webp").code == 0
    assert Path("b.webp").read_bytes() == Path("c.webp").read_bytes()


def test_a_drawn_still_brings_its_prompt(run: Run, here: Path, model: Path) -> None:
    assert run("draw", "a red ball", "--steps", "2", "-o", "still.png", "-q").code == 0
    assert run("animate", "still.png", "--model", model, "-o", "a.webp", "-q").code == 0
    assert read_provenance("a.webp").prompt == "a red ball"


def test_two_ends_and_loops(run: Run, interpolating: Path, picture: Path) -> None:
    command = ("animate", picture, "a ball", "--model", interpolating, "--seed", "1", "-q")
    last = drawn(picture.with_name("q.png"), 1)
    assert run(*command, "-o", "a.webp", "--last-frame", last, "--exact-first-frame").code == 0
    assert run(*command, "-o", "b.webp", "--loop", "--exact-first-frame").code == 0
    assert run(*command, "-o", "c.webp", "--seamless", "--exact-first-frame").code == 0
    ends, loop, less = (load_clip(f"{name}.webp").frames for name in "abc")
    assert (ends[0] != ends[-1]).any()
    np.testing.assert_array_equal(loop[0], loop[-1])
    np.testing.assert_array_equal(loop[:-1], less)
    assert (
        "give that again with --last-frame"
        in run(
            "animate", picture, "--from", "a.webp", "--model", interpolating, "-o", "d.webp"
        ).error
    )
    assert "give last_frame" in run(*command, "-o", "e.webp").error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--frame-stride", "3"), "not trained with frame_stride; give conditioning_fps"),
        (("--loop",), "not trained to end with a given picture"),
        (("--motion-strength", "1"), "--motion-strength is not an option of dynamicrafter"),
        (("--look", "neon"), "--look is not an option of dynamicrafter"),
        (("--gate-scale", "half"), "--gate-scale is 'half'; give LAYER:X"),
        (("--gate-scale", "99:1"), "There is no image cross-attention 99"),
        (("--guidance-rescale", "2"), "--guidance-rescale is 2.0; give a number of at most 1"),
        (("--memory", "huge"), "--memory is 'huge'"),
        (("--method", "magic"), "--method is 'magic'; it can be animatezero or dynamicrafter"),
    ],
)
def test_what_cannot_be(
    options: tuple[str, ...], said: str, run: Run, here: Path, model: Path, picture: Path
) -> None:
    before = sorted(here.iterdir())
    done = run("animate", picture, "a", "--model", model, "-o", "a.webp", *options, "-q")
    assert said in done.error
    assert sorted(here.iterdir()) == before


def test_methods_and_models_belong_together(
    run: Run, here: Path, model: Path, picture: Path
) -> None:
    command = ("animate", picture, "a", "-o", "a.webp", "-q")
    assert (
        "not for DynamiCrafterPipeline"
        in run(*command, "--method", "dynamicrafter", "--model", "miniature").error
    )
    assert "--eta is not an option of animatezero" in run(*command, "--eta", "0").error
    assert run(*command, "--method", "animatezero", "--model", model).error
    assert not (here / "a.webp").exists()


def test_a_converted_folder_takes_its_place_in_the_catalogue(
    run: Run, here: Path, model: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLMOTION_HOME", str(here / "home"))
    name = "dynamicrafter-512"
    command = ("animate", picture, "a", "--model", name, "-o", "a.webp", "--seed", "1", "-q")
    assert "models add dynamicrafter-512 --folder" in run(*command).error
    assert run("models", "add", name, "--folder", model).code == 0
    assert run(*command).code == 0
    assert read_provenance("a.webp").model.name == name
    assert "there is a model" in run("models", "add", "sd15", "--folder", model).error
