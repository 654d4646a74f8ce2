"""`stillmotion animate --preview`: what a clip will look like, while it is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.apps.conftest import Run, check_refused, save_picture

from stillmotion import Still
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.jobs.previews import file_writer, latent_preview, sheet_maker
from stillmotion.media.images import load_image

pytestmark = pytest.mark.usefixtures("loaded_once")
CHANNELS = 8  # of the miniature's latents
FAST = ("--frames", "3", "--seed", "1", "-q")


def with_table(rows: list[list[float]] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the description of every model has this `latent_rgb`."""

    def load(*arguments: Any, **options: Any) -> LoadedModel:
        model = load_model(*arguments, **options)
        description = model.folder.description.model_copy(update={"latent_rgb": rows})
        return replace(model, folder=replace(model.folder, description=description))

    monkeypatch.setattr("stillmotion.jobs.clip_jobs.load_model", load)


def test_all_frames_in_a_row_and_the_clip_as_without(run: Run, here: Path, still: Path) -> None:
    command = ("animate", still, *FAST)
    assert run(*command, "-o", "a.gif", "--preview", "look/p.png").err == ""
    assert {str(path.relative_to(here)) for path in here.rglob("*")} == {
        "a.gif", "a.gif.json", "look", "look/p.png",
    }  # fmt: skip
    shown = load_image(Path("look/p.png"))
    assert shown.shape == (64, 3 * 64, 3)
    # The still, blurred as its latents are coarser.
    assert np.abs(shown[:, :64].astype(int) - load_image(still)).mean() < 30
    assert run(*command, "-o", "b.gif").code == 0
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()


def test_a_photograph_and_a_model_without_a_table(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The colours are then those of the still."""
    with_table(None, monkeypatch)
    save_picture(here / "p.png", 64, 64)
    command = ("animate", "p.png", "a cat", "--steps", "3", "-o", "a.gif", *FAST)
    assert run(*command, "--preview", "look.png").code == 0
    assert load_image(Path("look.png")).shape == (64, 3 * 64, 3)


def test_the_table_of_the_model_gives_the_colours(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_table([[0.0] * 3] * CHANNELS + [[1.0, -1.0, 1.0]], monkeypatch)
    assert run("animate", still, "-o", "a.gif", "--preview", "look.png", *FAST).code == 0
    assert (load_image(Path("look.png")) == [255, 0, 255]).all()


def test_a_table_of_another_shape_is_refused(
    run: Run, here: Path, still: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_table([[0.0] * 3] * 3, monkeypatch)
    said = "its latents of 8 channels need 9 rows of 3"
    check_refused(run, here, said, "animate", still, "-o", "a.gif", "--preview", "p.png")


def test_many_frames_are_shown_in_several_rows(here: Path, still: Path) -> None:
    model, path = load_model("miniature", device="cpu"), here / "p.png"
    factor = model.pipeline.vae_scale_factor
    write = sheet_maker(latent_preview(model, Still.load(still)), factor, 20, file_writer(path))
    latents = torch.zeros(1, CHANNELS, 18, 64 // factor, 64 // factor)
    write(0, latents)
    assert not path.exists()  # only every third step is shown,
    write(2, latents)
    assert Image.open(path).size == (16 * 64, 2 * 64)
    path.unlink()
    write(19, latents)  # and the last
    assert list(here.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p.jpg", "'p.jpg' cannot hold a preview; use the ending .png"),
        ("p", "'p' cannot hold a preview"),
        ("taken.png", "'taken.png' exists already; choose another name, or add --force"),
        ("folder.png", "'folder.png' is a folder"),
        ("taken.png/p.png", "is a file, not a folder"),
    ],
)
def test_names_that_cannot_be(name: str, said: str, run: Run, here: Path, still: Path) -> None:
    (here / "folder.png").mkdir()
    (here / "taken.png").write_text("precious")
    check_refused(run, here, said, "animate", still, "-o", "a.gif", "--preview", name)
    assert (here / "taken.png").read_text() == "precious"


def test_force_replaces_an_older_one(run: Run, here: Path, still: Path) -> None:
    (here / "p.png").write_text("old")
    options = ("-o", "a.gif", "--preview", "p.png", "--force")
    assert run("animate", still, *options, *FAST).code == 0
    assert load_image(here / "p.png").shape == (64, 3 * 64, 3)
