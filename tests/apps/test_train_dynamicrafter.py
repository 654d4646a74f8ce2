"""`stillmotion train dynamicrafter`: from an image model to a model that animates, and mistakes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.apps.conftest import Outcome, Run, check_refused
from tests.dynamicrafter.tiny_pipeline import SIZE, tiny_dynamicrafter, tiny_dynamicrafter_unet
from tests.finetuning.tiny_starts import FRAMES, save_image_model, save_starts

from stillmotion import load_clip
from stillmotion.finetuning.run import ClipTraining

SHORT = ("--frames", str(FRAMES), "--steps", "2", "-q")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image model, CLIP, clips, and two video models."""
    folder = save_starts(tmp_path_factory.mktemp("starts"))
    adapted = tiny_dynamicrafter_unet(in_channels=4)
    tiny_dynamicrafter(unet=adapted).save_pretrained(folder / "adapted")
    tiny_dynamicrafter().save_pretrained(folder / "guided")
    save_image_model(folder / "linear", beta_schedule="linear")
    return folder


class Trainer:
    """Runs the command on the clips of a folder."""

    def __init__(self, run: Run, starts: Path) -> None:
        self.run, self.starts = run, starts

    def arguments(self, stage: str, start: str | Path, output: str, *more: Any) -> list[Any]:
        where = start if isinstance(start, Path) else self.starts / start
        return ["train", "dynamicrafter", "--stage", stage, "--start", where, "-o", output,
                "--clips", self.starts / "clips.jsonl", *SHORT, *more]  # fmt: skip

    def __call__(self, stage: str, start: str | Path, output: str, *more: Any) -> Outcome:
        return self.run(*self.arguments(stage, start, output, *more))


@pytest.fixture
def trainer(run: Run, starts: Path) -> Trainer:
    return Trainer(run, starts)


def picture(here: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "p.png")
    return here / "p.png"


@pytest.mark.slow
def test_from_an_image_model_to_one_that_goes_from_picture_to_picture(
    trainer: Trainer, run: Run, here: Path, starts: Path
) -> None:
    chain = [
        ("base", "image", ()),
        ("context", "image", ("--image-encoder", starts / "clip")),
        ("adapt", here / "base", ("--context", here / "context")),
        ("joint", here / "adapt", ("--batch", "2", "--workers", "1")),
        ("interpolation", here / "joint", ("--height", "32", "--precision", "bf16")),
    ]
    for stage, start, more in chain:
        done = trainer(stage, start, stage, *more)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"trained: {stage}, 2 steps, in {stage}\n"
    still = picture(here)
    for stage, size, ends in (
        ("adapt", (SIZE, SIZE), ()), ("joint", (SIZE, SIZE), ()),
        ("interpolation", (32, SIZE), ("--last-frame", still)),
    ):  # fmt: skip
        done = run("animate", still, "abc", "--model", here / stage, "-o", f"{stage}.webp",
                   "--steps", "2", "--seed", "1", "-q", *ends)  # fmt: skip
        assert done.code == 0, done.err
        assert load_clip(f"{stage}.webp").frames.shape == (FRAMES, *size, 3)


def test_it_is_said_what_was_done_and_not_done_again(trainer: Trainer, here: Path) -> None:
    command = ("joint", "guided", "out", "--gradient-checkpointing", "--json")
    first = trainer(*command)
    assert first.code == 0, first.err
    assert first.facts == {
        "stage": "joint", "output": "out", "steps": 2, "was_finished": False, "notes": [],
    }  # fmt: skip
    assert trainer(*command).facts["was_finished"]
    assert (here / "out-training" / "joint.checkpoint").is_file()


def test_an_interrupt_is_told_and_the_same_command_goes_on(
    trainer: Trainer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("joint", "guided", "out", "--clips", "world", "--folder", "run")
    with monkeypatch.context() as patched:
        plain = ClipTraining.loss

        def loss(self: ClipTraining, *given: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            return plain(self, *given)

        patched.setattr(ClipTraining, "loss", loss)
        done = trainer(*command)
    assert done.code == 130
    assert "the same command goes on from there" in done.err
    assert not (here / "out").exists()
    assert (here / "run" / "joint.checkpoint").is_file()
    assert trainer(*command).out == "trained: joint, 2 steps, in out\n"


@pytest.mark.parametrize(
    ("stage", "start", "more", "said"),
    [
        ("last", "guided", (), "The stage 'last' is unknown; it can be base, context, adapt"),
        ("joint", "guided", ("--ablation", "x"), "The ablation 'x' is unknown"),
        ("adapt", "adapted", ("--ablation", "without-context"), "there is no stage 'adapt'"),
        ("base", "guided", (), "begins with an image model of Stable Diffusion's structure; "),
        ("joint", "image", (), "is an image model"),
        ("joint", "clip", (), "is no model folder: there is no unet/ in it"),
        ("joint", "nowhere", (), "nowhere"),
        ("adapt", "guided", (), "with image context and with detail guidance"),
        ("interpolation", "adapted", (), "with image context and without detail guidance"),
        ("joint", "guided", ("--ablation", "without-context"), "begins with a text-to-video model"),
        ("joint", "guided", ("--ablation", "global-token"), "trained on all of CLIP's tokens"),
        ("adapt", "adapted", ("--context", "x"), "has image context already"),
        ("joint", "guided", ("--image-encoder", "x"), "takes no image encoder; leave it out"),
        ("context", "image", (), "The stage 'context' makes the image context, so it needs"),
        ("context", "image", ("--image-encoder", "x"), "There is no folder 'x'"),
        ("base", "linear", (), "has the noise schedule 'linear'"),
        ("joint", "guided", ("--height", "18"), "height is 18; give a multiple of 4"),
        ("joint", "guided", ("--min-stride", "7"), "largest stride, 6, is below the smallest, 7"),
        ("joint", "guided", ("--precision", "bf8"), "The precision 'bf8' is unknown"),
        ("joint", "guided", ("--ema", "1"), "ema is 1.0; give a number from 0 to below 1"),
        ("joint", "guided", ("--seconds", "0"), "seconds is 0.0; give a number above 0"),
        ("joint", "guided", ("--clips", "gone.csv"), "gone.csv"),
        ("joint", "guided", ("--device", "tpu"), "The device 'tpu' is unknown"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    trainer: Trainer, here: Path, stage: str, start: str, more: tuple[str, ...], said: str
) -> None:
    check_refused(trainer.run, here, said, *trainer.arguments(stage, start, "out", *more))


def test_adapt_needs_what_the_context_has_learned(trainer: Trainer, here: Path) -> None:
    text = tiny_dynamicrafter_unet(in_channels=4, image_context=False)
    plain = {"image_encoder": None, "image_context": None}
    tiny_dynamicrafter(unet=text, **plain).save_pretrained(here / "text")
    for more, said in (
        ((), "takes what the stage 'context' has learned"),
        (("--context", trainer.starts / "clip"), "is not the output of the stage 'context'"),
    ):
        arguments = trainer.arguments("adapt", here / "text", "out", *more)
        check_refused(trainer.run, here, said, *arguments)


def test_without_a_budget_of_the_papers_one_is_needed(run: Run, here: Path, starts: Path) -> None:
    arguments = ("train", "dynamicrafter", "--stage", "base", "--start", starts / "image", "-o",
                 "out", "--clips", "world")  # fmt: skip
    check_refused(run, here, "give steps or seconds", *arguments)


def test_an_output_that_is_something_else_is_left_alone(trainer: Trainer, here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "mine.txt").write_text("mine")
    arguments = trainer.arguments("joint", "guided", "out")
    check_refused(trainer.run, here, "exists and is no output of a training run", *arguments)
