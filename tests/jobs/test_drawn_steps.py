"""A job with other steps than its still was drawn in is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.jobs import run
from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.drawn_steps import check_drawn_steps
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import parse_job
from stillmotion.jobs.sources import find_file
from stillmotion.media.images import latents_path
from stillmotion.media.still import Still


def drawn_still(path: Path, *, steps: int, model: str = "miniature") -> Path:
    """As if drawn: the numbers of its latents mean nothing."""
    Still(
        image=np.full((64, 64, 3), 90, np.uint8),
        latents=torch.zeros((steps + 1, 4, 8, 8)),
        timesteps=tuple(range(steps, 0, -1)),
        prompt="a red balloon",
        seed=1,
        settings=SamplingSettings(num_inference_steps=steps, height=64, width=64),
        model={"name": model, "fingerprint": "ab" * 32},
        scheduler_fingerprint="cd" * 32,
    ).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawn_still(tmp_path / "four.png", steps=4)
    drawn_still(tmp_path / "six.png", steps=6)
    return tmp_path


def check(folder: Path, still: str, **more: Any) -> None:
    for name in ("last_frame", "clip"):
        if name in more:
            more[name] = {"path": str(folder / more[name])}
    fields = {"kind": "animate", "still": {"path": str(folder / still)}, **more}
    check_drawn_steps(parse_job(fields), find_file)


@pytest.mark.parametrize(
    ("more", "field", "said"),
    [
        ({"steps": 5}, "steps", "'four.png' was drawn in 4 steps"),
        ({"steps": 5, "kind": "loop"}, "steps", "no other number, not 5"),
        ({"steps": 5, "kind": "edit", "clip": "clip.mp4", "prompt": "a"}, "steps", "4 steps"),
        ({"kind": "interpolate", "last_frame": "six.png"}, "last_frame",
         "'four.png' was drawn in 4 steps and 'six.png' in 6"),
        ({"kind": "interpolate", "last_frame": "six.png", "steps": 4}, "steps", "'six.png' was"),
    ],
)  # fmt: skip
def test_other_steps_are_refused(folder: Path, more: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(FieldError) as caught:
        check(folder, "four.png", **more)
    assert caught.value.field == field
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"steps": 4},
        {"steps": 5, "photograph": True},
        {"steps": 5, "method": "dynamicrafter"},
        {"steps": 5, "model": "miniature-dynamicrafter"},
        {"steps": 5, "from_clip": {"path": "clip.mp4"}},
        {"kind": "interpolate", "last_frame": "four.png", "steps": 4},
        {"kind": "interpolate", "last_frame": "six.png", "photograph": True},
    ],
)
def test_what_can_be_made_passes(folder: Path, more: dict[str, Any]) -> None:
    check(folder, "four.png", **more)


def test_a_still_without_its_latents_is_any_picture(folder: Path) -> None:
    latents_path(folder / "four.png").unlink()
    check(folder, "four.png", steps=5)


def test_models_that_take_pixels_alone_or_are_not_here_are_left_to_themselves(
    folder: Path,
) -> None:
    drawn_still(folder / "other.png", steps=4, model="a model that nobody has")
    check(folder, "other.png", steps=5)
    check(folder, "four.png", steps=5, model="animatelcm")


def test_jobs_without_stills_pass() -> None:
    check_drawn_steps(parse_job({"kind": "draw", "prompt": "a", "steps": 5}), find_file)


def test_it_is_said_before_a_model_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Any:
        raise AssertionError("what loads models was called")

    monkeypatch.setattr(run, "_prepared", load)
    job = parse_job({"kind": "animate", "still": {"path": str(folder / "four.png")}, "steps": 5})
    with pytest.raises(FieldError, match="drawn in 4 steps"):
        run.prepare_job(job, Output(path=folder / "clip.mp4"), Context())
