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
HELP, DRAW_AND_ANIMATE, ONE_PROCESS = "help", "draw-and-animate", "one-process"
_PROMPT = "a red circle moves to the right"
_SCRIPT = """
import sys
from pathlib import Path

from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.model import parse_job
from stillmotion.jobs.run import run_job
from stillmotion.jobs.shared_models import SharedModels

prompt, still, clip = sys.argv[1:]
context = Context(models=SharedModels(), device="cpu", quiet=True)
draw = {"kind": "draw", "prompt": prompt, "seed": 0}
animate = {"kind": "animate", "still": {"path": still}, "seed": 0}
run_job(parse_job(draw), Output(path=Path(still)), context)
run_job(parse_job(animate), Output(path=Path(clip)), context)
"""
"""The same two jobs from Python, which imports and loads once."""


def command_contenders(*, miniature: bool) -> tuple[Contender, ...]:
    """`stillmotion --help`, and with `miniature` drawing and animating a still, in two ways."""
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
        found.append(
            Contender(
                name=ONE_PROCESS, title="the same still and clip from one Python process",
                group=COMMANDS, label="other", prepare=_one_process, is_counted=False,
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


def _one_process(stage: object) -> Prepared:
    def run(num_steps: int) -> Made:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, "still.png"), Path(folder, "clip.mp4")
            _python("a script", "-c", _SCRIPT, _PROMPT, *map(str, made))
        return _nothing()

    return Prepared(run=run)


def _command(*arguments: str) -> None:
    """Run the command as a user does.  Raises StillmotionError if it fails."""
    _python(f"'stillmotion {arguments[0]}'", "-m", "stillmotion", *arguments)


def _python(title: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise StillmotionError(f"{title} failed: {said}")


def _nothing() -> Made:
    return Made(latents=torch.empty(0))
