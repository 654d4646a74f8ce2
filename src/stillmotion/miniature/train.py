"""Train stages of the miniature, with progress, interruptible and resumable.

Needs only torch, diffusers, transformers, accelerate, safetensors, numpy, Pillow and rich, so that
it runs on any machine that has them: `python -m stillmotion.miniature.train --stage all`.  The
stage "control" finds edges with OpenCV besides.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TextIO

from stillmotion.errors import InputError, StillmotionError
from stillmotion.media.control_maps import require_opencv
from stillmotion.miniature.recipe import RECIPES, STAGES, VIDEO_STAGES, Recipe
from stillmotion.runtime.progress import Progress
from stillmotion.runtime.system import choose_device
from stillmotion.training.interrupts import termination_as_interrupt
from stillmotion.training.loop import Report

DEFAULT_FOLDER = Path("runs/miniature")
ALL_STAGES = ("judge", *STAGES)
PARTS, _TENTHS = 1000, 10
"""Of a stage's bar."""


def train_stages(
    stages: tuple[str, ...],
    *,
    recipe: Recipe,
    folder: Path = DEFAULT_FOLDER,
    device: str = "auto",
    quiet: bool = False,
) -> None:
    """Train the stages in order; each goes on from its checkpoint in `folder`, if there is one.

    Args:
        stages: names from `ALL_STAGES`.
        recipe: sizes, data and budgets.
        folder: the run folder.
        device: "auto", "cpu", "cuda", ...
        quiet: show nothing.

    Raises:
        InputError: an unknown stage or device, a stage whose predecessors are missing, or
            OpenCV, which the stage "control" needs, is not installed.
        KeyboardInterrupt: interrupted, after a checkpoint was written; SIGTERM counts as well.
    """
    # Not at the top: it takes seconds, which the mistakes that `main` can find need not wait for.
    from stillmotion.miniature.control import EDGES_FILE
    from stillmotion.miniature.stages import Workshop
    from stillmotion.miniature.video_stages import VideoWorkshop

    if "control" in stages and not (folder / EDGES_FILE).exists():
        require_opencv()  # now, not after the hours of the stages before it
    place = choose_device(device)
    with termination_as_interrupt():
        for stage in stages:
            with Progress(f"train {stage}", total=PARTS, quiet=quiet) as progress:
                shop = Workshop(recipe, folder, place, reporter(progress))
                (VideoWorkshop(shop) if stage in VIDEO_STAGES else shop).run(stage)


def reporter(progress: Progress) -> Report:
    """Moves the bar with the used budget and logs the values at every tenth of it.

    A stage that trains several networks uses its budget several times; each starts the bar again.
    """
    tenths = _TENTHS + 1

    def report(done: float, values: dict[str, float]) -> None:
        nonlocal tenths
        completed, now = round(done * PARTS), int(done * _TENTHS)
        if now < tenths:
            progress.start_at(completed)
        else:
            progress.update(completed=completed)
        if now != tenths:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            progress.log(f"{done:.0%} of the budget: {shown}")
        tenths = now

    return report


def selected_stages(stage: str) -> tuple[str, ...]:
    """`all` or one stage's name to the stages to run."""
    if stage == "all":
        return ALL_STAGES
    if stage not in ALL_STAGES:
        raise InputError(f"unknown stage '{stage}'; use all, {', '.join(ALL_STAGES)}")
    return (stage,)


def configured(recipe: str, stages: tuple[str, ...], budget: float | None) -> Recipe:
    """The named recipe, with `budget` seconds for each of the stages if given."""
    if recipe not in RECIPES:
        raise InputError(f"unknown recipe '{recipe}'; the recipes are: {', '.join(RECIPES)}")
    made = RECIPES[recipe]()
    for stage in stages:
        made = made.with_budget(stage, budget) if budget is not None else made
    return made


def main(arguments: list[str], stderr: TextIO) -> int:
    """The command line without the package's other dependencies; errors go to `stderr`."""
    parser = argparse.ArgumentParser(
        prog="python -m stillmotion.miniature.train", description=__doc__
    )
    parser.add_argument("--stage", default="all", help=f"all, {', '.join(ALL_STAGES)}")
    parser.add_argument("--recipe", default="cpu", help=", ".join(RECIPES))
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the run folder")
    parser.add_argument("--budget", type=float, help="seconds for each stage")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        stages = selected_stages(given.stage)
        recipe = configured(given.recipe, stages, given.budget)
        train_stages(stages, recipe=recipe, folder=given.folder, device=given.device)
    except StillmotionError as error:
        print(error, file=stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stderr))
