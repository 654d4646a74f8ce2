"""`stillmotion animate` of pictures that were not drawn here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apps.conftest import Run, check_refused, picture, save_picture

from stillmotion import load_clip
from stillmotion.media.clips import read_provenance
from stillmotion.media.fit import fit_picture, unfit_frames

pytestmark = pytest.mark.usefixtures("loaded_once")
PHOTO = ("a cat", "--steps", "3", "--frames", "2", "--seed", "1", "-q")


@pytest.mark.parametrize("size", [(64, 64), (80, 64)])
def test_a_size_that_the_model_takes_stays(size: tuple[int, int], run: Run, here: Path) -> None:
    save_picture(here / "p.png", *size)
    done = run("animate", "p.png", "-o", "a.webp", *PHOTO)
    [note] = done.notes
    assert note.startswith("the picture is animated as a photograph, without latents of its own")
    assert note.endswith("by direct diffusion of its pixels with one fixed noise")
    np.testing.assert_array_equal(load_clip("a.webp").frames[0], picture(*size))


@pytest.mark.parametrize(
    ("size", "target"),
    [((100, 75), (64, 48)), ((64, 96), (48, 80)), ((9, 14), (48, 80)), ((500, 10), (352, 16))],
)
def test_any_other_is_cut_to_one(
    size: tuple[int, int], target: tuple[int, int], run: Run, here: Path
) -> None:
    save_picture(here / "p.png", *size)
    done = run("animate", "p.png", "-o", "a.webp", *PHOTO, "--json")
    expected = f"'p.png' has {size[1]} x {size[0]} pixels; the model takes it as "
    assert done.notes[0] == f"{expected}{target[1]} x {target[0]}, cut where the shapes differ"
    assert done.facts["notes"] == done.notes
    assert done.facts["first_frame_is_the_still"]
    frames = load_clip("a.webp").frames
    assert frames.shape[1:3] == target
    np.testing.assert_array_equal(frames[0], fit_picture(picture(*size), target)[0])


def test_padding_is_cut_off_again_and_recorded(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 50, 120)
    done = run("animate", "p.png", "-o", "a.webp", "--fit", "pad", *PHOTO)
    assert "as 112 x 48, padded where" in done.notes[0]
    frames = load_clip("a.webp").frames
    padded, fit = fit_picture(picture(50, 120), (48, 112), "pad")
    assert any(fit.padding)
    np.testing.assert_array_equal(frames[:1], unfit_frames(padded[None], fit))
    assert read_provenance("a.webp").settings["photographs"]["fit"] == "pad"
    again = run("animate", "p.png", "--from", "a.webp", "-o", "b.webp", "-q")
    assert again.notes == done.notes
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()
    # The picture is known by its own pixels, however it is fitted.
    cut = run("animate", "p.png", "--from", "a.webp", "--fit", "cover", "-o", "c.webp", "-q")
    assert not any("is not the picture" in note for note in cut.notes)
    assert load_clip("c.webp").frames.shape[1:3] == (48, 112)


def test_the_rotation_that_a_camera_notes_is_applied(run: Run, here: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    save_picture(here / "p.jpg", 80, 64, exif=exif, quality=95)
    assert run("animate", "p.jpg", "-o", "frames", *PHOTO).code == 0
    frames = load_clip("frames").frames
    assert frames.shape == (2, 64, 80, 3)
    turned = np.rot90(picture(80, 64), -1).astype(int)
    assert np.abs(frames[0] - turned).mean() < 5


def test_inversion(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    assert run("animate", "p.png", "-o", "a.webp", *PHOTO).code == 0
    command = [option for option in PHOTO if option != "-q"]
    done = run("animate", "p.png", "-o", "b.webp", "--trajectory", "inversion", *command)
    assert "animated as a photograph" in done.notes[0]
    assert done.notes[0].endswith("by DDIM inversion of its pixels")
    assert done.err.splitlines()[-1] == "animate 6/6"  # 3 steps backwards and 3 forwards
    plain, inverted = (load_clip(name).frames for name in ("a.webp", "b.webp"))
    np.testing.assert_array_equal(plain[0], inverted[0])
    assert (plain[1] != inverted[1]).any()
    assert read_provenance("b.webp").settings["photographs"]["trajectory"] == "inversion"
    assert run("animate", "p.png", "--from", "b.webp", "-o", "c.webp", "-q").code == 0
    assert Path("b.webp").read_bytes() == Path("c.webp").read_bytes()


def test_the_first_frame_as_the_vae_makes_it(run: Run, here: Path) -> None:
    save_picture(here / "p.png", 64, 64)
    done = run("animate", "p.png", "-o", "a.webp", "--first-frame", "reconstruction", *PHOTO)
    assert "the first frame is the picture as the VAE gives it back" in done.out
    first = load_clip("a.webp").frames[0].astype(int)
    assert 0 < np.abs(first - picture(64, 64)).mean() < 40
    assert run("animate", "p.png", "--from", "a.webp", "-o", "b.webp", "-q").code == 0
    assert Path("a.webp").read_bytes() == Path("b.webp").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trajectory", "guess"], "--trajectory is 'guess'; it can be inversion or diffusion"),
        (["--first-frame", "x"], "--first-frame is 'x'; it can be photograph or reconstruction"),
        (["--fit", "squeeze"], "--fit is 'squeeze'; it can be cover or pad"),
        (["--steps", "2000"], "give at most 999"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_written(
    options: list[str], said: str, run: Run, here: Path
) -> None:
    save_picture(here / "p.png", 64, 64)
    check_refused(run, here, said, "animate", "p.png", "a cat", "-o", "a.gif", *options)
