"""`stillmotion evaluate score`: what is measured of single clips, told and written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.apps.conftest import Run, check_refused, picture, save_picture

SHIFTS = (0, 3, 6, 9)


@pytest.fixture
def clip(here: Path) -> Path:
    """A picture that moves to the right, beside it the picture and where it is to end."""
    first, *others = [Image.fromarray(np.roll(picture(64, 64), shift, axis=1)) for shift in SHIFTS]
    first.save(here / "moves.webp", save_all=True, append_images=others, lossless=True)
    save_picture(here / "still.png", 64, 64)
    others[-1].save(here / "end.png")
    return here / "moves.webp"


def test_scores_are_shown_and_written(run: Run, here: Path, clip: Path) -> None:
    command = ("evaluate", "score", "moves.webp", "moves.webp", "--still", "still.png", "-q")
    done = run(*command, "--last-frame", "end.png", "-o", "scores.json")
    assert done.code == 0, done.err
    head, _, *rows = done.out.splitlines()
    assert head == "| metric | moves.webp | moves.webp |"
    assert "| I1-MSE ↓ | 0.000 | 0.000 |" in rows
    assert "| I1-PSNR (dB) ↑ | exact | exact |" in rows
    assert "| End-frame MSE ↓ | 0.000 | 0.000 |" in rows
    assert rows[-1] == "scores.json"

    written = json.loads((here / "scores.json").read_text())
    assert written["prompt"] == ""
    first, second = written["clips"]
    assert first == second
    assert (first["name"], first["num_frames"]) == ("moves.webp", len(SHIFTS))
    assert (first["metrics"]["end_mse"], first["metrics"]["i1_psnr"]) == (0, None)
    # Each title says which network looked.
    for part, looked in written["extractors"].items():
        assert any(looked["name"] in row for row in rows), part

    facts = run(*command, "-o", "other.json", "--prompt", "a ball", "--json").facts
    assert facts["path"] == "other.json"
    assert "end_mse" not in facts["clips"][0]["metrics"]
    assert facts["clips"][0]["metrics"]["text_sim"] != first["metrics"]["text_sim"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone.mp4", "--still", "still.png"), "there is no 'gone.mp4'; check the name."),
        (("moves.webp", "--still", "gone.png"), "there is no 'gone.png'; check the name."),
        (("still.png", "--still", "still.png"), "'still.png' has 1 frame; a clip"),
        (("moves.webp", "--still", "still.png", "-o", "a.txt"), "the ending '.json'"),
        (("moves.webp", "--still", "still.png", "-o", "end.png"), "'end.png' exists already"),
        (("moves.webp",), "Missing option '--still'"),
    ],
)
def test_what_cannot_be_scored(
    words: tuple[str, ...], said: str, run: Run, here: Path, clip: Path
) -> None:
    check_refused(run, here, said, "evaluate", "score", "-o", "a.json", *words, "-q")
