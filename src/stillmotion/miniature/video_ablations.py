"""DynamiCrafter's ablations (Table 4 and Fig. 5b) trained on the miniature's text-to-video model.

All are given the same number of steps, the same clips and the same noise.  What two of them have in
common, a first stage say, is trained once.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path

from stillmotion.dynamicrafter.stages import ABLATIONS, TrainingStage, plan
from stillmotion.errors import InputError
from stillmotion.miniature.recipe import StageBudget
from stillmotion.miniature.video_package import link_video_model
from stillmotion.miniature.video_stages import StageRun, VideoWorkshop
from stillmotion.runtime.files import atomic_folder

_FOLDER = "ablations"


@dataclass(frozen=True, kw_only=True)
class AblationSteps:
    """Optimiser steps of each stage.  Raises InputError for fewer than one."""

    context: int = 800
    adapt: int = 200
    joint: int = 600

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InputError(
                    f"the stage '{field.name}' is given {getattr(self, field.name)} steps; "
                    "give at least 1"
                )

    def of(self, stage: TrainingStage, *, alone: bool) -> int:
        """Those of a stage; `alone`: it has the first one's as well (Fig. 5b)."""
        steps: int = getattr(self, stage.name)
        return steps + self.context if alone else steps


def train_ablation(video: VideoWorkshop, name: str, steps: AblationSteps) -> Path:
    """Train what is missing of an ablation; the folder of its model, for `load_dynamicrafter`.

    Interrupted, the same call goes on.

    Raises:
        InputError: no such ablation, or the text-to-video model is not trained yet.
    """
    if name not in ABLATIONS:
        raise InputError(f"unknown ablation '{name}'; there are {', '.join(ABLATIONS)}")
    stages = plan(ABLATIONS[name])
    before, context = video.folder / "video", None
    done: list[str] = []
    for stage in stages:
        alone = ABLATIONS[name].one_stage and stage.name == "adapt"
        count = steps.of(stage, alone=alone)
        done.append(f"{sorted(stage.trains)} {replace(stage, trains=frozenset())} {count}")
        out = video.folder / _FOLDER / f"{stage.name}-{_key(done)}"
        run = StageRun(
            stage=stage, out=out / "networks", before=before, context=context,
            budget=_budget(video, stage.name, count),
        )  # fmt: skip
        if not run.out.is_dir():
            _train(video, run, out)
        context = run.out if stage.context else None
        before = run.out if stage.data == "clips" else before
    model = video.folder / _FOLDER / name
    with atomic_folder(model, overwrite=True) as temporary:
        link_video_model(video.recipe, video.shop.folder, before, temporary, stages[-1])
    return model


def _train(video: VideoWorkshop, run: StageRun, folder: Path) -> None:
    """Train one stage; its networks appear when all of them are there."""
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    video.train(replace(run, out=unfinished), folder / "training")
    unfinished.rename(run.out)


def _budget(video: VideoWorkshop, stage: str, steps: int) -> StageBudget:
    """As the recipe has it, by steps: seconds would depend on what else the machine does."""
    own = video.recipe.budgets[stage]
    return replace(own, loop=replace(own.loop, budget_seconds=None, max_steps=steps))


def _key(stages: list[str]) -> str:
    return hashlib.sha256("\n".join(stages).encode()).hexdigest()[:8]
