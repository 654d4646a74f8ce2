"""What is trained, from what, on what, how, and to where."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.dynamicrafter.stages import (
    ABLATIONS,
    STAGES,
    TrainingStage,
    plan,
    training_everything,
)
from stillmotion.errors import InputError
from stillmotion.models.loading import shareable
from stillmotion.training.settings import LoopSettings, Precision

WORLD = "world"
"""In place of a list of clips: the procedural world."""
_PRECISIONS = ("no", "bf16", "fp16")
# Of stages that the paper does not have: new temporal layers learn as image layers in stage (i),
# and interpolation goes on as stage (iii) ended.
_RATES = {"base": 1e-4, "interpolation": 5e-5}
_CLIP_NORM = 0.5
_FULL, _EVERYTHING = "full", "train-everything"


@dataclass(frozen=True, kw_only=True)
class StageRequest:
    """One stage, and where everything is."""

    stage: str
    """A name of `STAGES`."""
    start: str
    """What it begins with: the name or folder of a model."""
    clips: str
    """A manifest, a shard, a folder of shards, or `WORLD`."""
    output: Path
    """The folder that it makes."""
    context: Path | None = None
    """For "adapt": the output of "context"."""
    image_encoder: Path | None = None
    """Where P is made: CLIP's vision tower, in a folder of its own or in a model's."""
    ablation: str = _FULL
    """A name of `ABLATIONS`."""
    run_folder: Path | None = None
    """Of checkpoint and log; None: beside the output."""

    @property
    def folder(self) -> Path:
        """Where checkpoint and log are."""
        if self.run_folder is not None:
            return self.run_folder
        return self.output.with_name(f"{self.output.name}-training")

    def resolved(self) -> TrainingStage:
        """The stage as data, with its ablation.  Raises InputError if there is no such stage."""
        _check_one_of("stage", self.stage, STAGES)
        _check_one_of("ablation", self.ablation, ABLATIONS)
        if self.stage == "base":
            if self.ablation not in (_FULL, _EVERYTHING):
                raise InputError(
                    f"The stage 'base' comes before the ablation '{self.ablation}'; it knows "
                    f"{_FULL} and {_EVERYTHING}."
                )
            stage = STAGES["base"]
            return stage if self.ablation == _FULL else training_everything(stage)
        variation = ABLATIONS[self.ablation]
        stages = plan(replace(variation, interpolation=variation.detail_guidance))
        found = [stage for stage in stages if stage.name == self.stage]
        if not found:
            raise InputError(
                f"With the ablation '{self.ablation}' there is no stage '{self.stage}'; there are "
                f"{', '.join(stage.name for stage in stages)}."
            )
        return found[0]

    def identity(self) -> dict[str, Any]:
        """What decides the result, without the folders above, which tell who the user is."""
        folders = {"context": self.context, "image_encoder": self.image_encoder}
        return {
            "stage": self.stage,
            "ablation": self.ablation,
            "start": shareable(self.start),
            "clips": Path(self.clips).name,
            **{k: None if v is None else shareable(str(v)) for k, v in folders.items()},
        }


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How it is trained; None is the model's or the stage's own.

    Raises InputError for a number that cannot be used.
    """

    height: int | None = None
    """Of clips, in pixels: another size than the model's makes it a model of that size."""
    width: int | None = None
    frames: int | None = None
    batch: int = 1
    """Clips in a batch, of which a step has `accumulate` in each process."""
    accumulate: int = 1
    steps: int | None = None
    """None: the paper's number, unless there are `seconds`."""
    seconds: float | None = None
    learning_rate: float | None = None
    precision: Precision | None = None
    """None: bf16 on a GPU, no mixed precision elsewhere."""
    ema: float = 0.999
    """Decay of the average of the weights that is saved; 0 saves the last weights."""
    min_stride: int = 1
    max_stride: int = 6
    seed: int = 0
    gradient_checkpointing: bool = False
    sharded: bool = False
    workers: int = 0
    """Processes that decode ahead, for each process that trains."""
    skip_damaged: bool = False
    checkpoint_seconds: float = 600.0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("height", "width", "frames", "batch", "accumulate", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; give a whole number from 1 up.")
        for name in ("seconds", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; give a number above 0.")
        if self.precision is not None:
            _check_one_of("precision", self.precision, _PRECISIONS)
        if not 0 <= self.ema < 1:
            raise InputError(f"ema is {self.ema}; give a number from 0 to below 1.")
        if self.workers < 0 or not self.checkpoint_seconds >= 0:
            raise InputError("There cannot be fewer than 0 workers, or seconds to a checkpoint.")

    def precise(self, on_gpu: bool) -> Precision:
        """The precision on this device."""
        return self.precision or ("bf16" if on_gpu else "no")

    def rate(self, stage: TrainingStage) -> float:
        """The learning rate: constant after the first steps, as in the published code."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _RATES[stage.name] if stage.published is None else stage.published.learning_rate

    def loop(self, stage: TrainingStage, *, on_gpu: bool) -> LoopSettings:
        """For the loop.  Raises InputError where nothing says how long to train."""
        steps = self.steps
        if steps is None and self.seconds is None:
            if stage.published is None:
                raise InputError(
                    f"The paper does not say how long to train the stage '{stage.name}'; give "
                    "steps or seconds."
                )
            steps = stage.published.steps
        precision = self.precise(on_gpu)
        return LoopSettings(
            budget_seconds=self.seconds, max_steps=steps, learning_rate=self.rate(stage),
            final_learning_rate=1.0, clip_norm=_CLIP_NORM, ema_decay=self.ema, seed=self.seed,
            checkpoint_seconds=self.checkpoint_seconds, bfloat16=precision == "bf16",
            float16=precision == "fp16", gradient_accumulation_steps=self.accumulate,
            gradient_checkpointing=self.gradient_checkpointing, sharded=self.sharded,
        )  # fmt: skip

    def identity(self, stage: TrainingStage) -> dict[str, Any]:
        """What decides the result, but for its budget."""
        names = ("height", "width", "frames", "batch", "accumulate", "precision", "ema",
                 "min_stride", "max_stride", "seed", "skip_damaged")  # fmt: skip
        return {"learning_rate": self.rate(stage), **{name: getattr(self, name) for name in names}}

    def budget(self) -> dict[str, Any]:
        """How long it is trained, as far as it was said."""
        return {"steps": self.steps, "seconds": self.seconds}


def _check_one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise InputError(f"The {name} '{value}' is unknown; it can be {', '.join(known)}.")
