"""Commands in fresh processes: what people wait for, start-up and loading included."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from stillmotion.benchmarks.contenders import Contender, Made, Prepared
from stillmotion.errors import StillmotionError

COMMANDS = "commands"
HELP, DRAW_AND_ANIMATE = "help", "draw-and-animate"
_PROMPT = "a red circle moves to the right"


def command_contenders(*, miniature: bool) -> tuple[Contender, ...]:
    """`stillmotion --help`, and with `miniature` drawing and animating a still with it."""
    found = [
        Contender(
            name=HELP, title="stillmotion --help", group=COMMANDS, label="other",
            prepare=_help, is_counted=False,
        )
    ]  # fmt: skip
    if miniature:
        found.append(
            Contender(
                name=DRAW_AND_ANIMATE, title="stillmotion draw, then stillmotion animate",
                group=COMMANDS, label="other", prepare=_draw_and_animate, is_counted=False,
            )
        )  # fmt: skip
    return tuple(found)


def _help(stage: object) -> Prepared:
    def run(num_steps: int) -> Made:
        _command("--help")
        return _nothing()

    return Prepared(run=run)


def _draw_and_animate(stage: object) -> Prepared:
    def run(num_steps: int) -> Made:
        with tempfile.TemporaryDirectory() as folder:
            still, clip = Path(folder, "still.png"), Path(folder, "clip.mp4")
            common = ("--device", "cpu", "--seed", "0", "--quiet")
            _command("draw", _PROMPT, "-o", str(still), *common)
            _command("animate", str(still), "-o", str(clip), *common)
        return _nothing()

    return Prepared(run=run)


def _command(*arguments: str) -> None:
    """Run the command as a user does.  Raises StillmotionError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "stillmotion", *arguments], capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise StillmotionError(f"'stillmotion {arguments[0]}' failed: {said}")


def _nothing() -> Made:
    return Made(latents=torch.empty(0))
