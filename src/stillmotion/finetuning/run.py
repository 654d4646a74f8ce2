"""One stage of DynamiCrafter on clips of one's own, from start to finish.

from stillmotion.finetuning.request import StageRequest, TrainingOptions
from stillmotion.finetuning.run import train_stage

train_stage(
    StageRequest(stage="joint", start="adapted", clips="clips.csv", output=Path("joint")),
    TrainingOptions(batch=2, steps=1000),
)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stillmotion.dynamicrafter.training import StageTraining
from stillmotion.errors import InputError
from stillmotion.finetuning.beginnings import Beginning, Place, begin
from stillmotion.finetuning.request import StageRequest, TrainingOptions
from stillmotion.finetuning.results import Trained, changes, check_output, write_result
from stillmotion.finetuning.source import EncodedClips, clip_source
from stillmotion.finetuning.starts import check_start, find_start, read_json
from stillmotion.runtime.files import write_json
from stillmotion.runtime.system import choose_device
from stillmotion.training.clips.drawing import DrawnClips
from stillmotion.training.loop import Report, train
from stillmotion.training.processes import process_device
from stillmotion.training.sharding import whole_state_dict

_SIZE_MULTIPLE = 2
"""Of latents: the finest level of every network is halved at least once."""
_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a request."""

    stage: str
    output: Path
    steps: int
    """Optimiser steps in all, those of earlier runs included."""
    was_finished: bool
    """Whether there was nothing left to do."""
    skipped: Mapping[str, int]
    """Clips that were passed over, by the sentence that says why, and how often."""


def train_stage(
    request: StageRequest, options: TrainingOptions, report: Report | None = None
) -> Outcome:
    """Train a stage to the end of its budget and write its output.

    Interrupted, it saves where it is, and the same call goes on from there; called again after
    that, it does nothing, unless the budget is another.  In several processes, started by
    `torchrun` say, each calls it, and the main one writes.

    Raises:
        InputError: a stage, ablation, number or device that there is not; a start of the wrong
            kind; clips that cannot be used; a run folder of another run.
        ModelError: networks that are missing, damaged, or do not fit each other.
        OutputError: an output folder that is something else, or cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; everything is saved.
    """
    return StageRun(request, options).train(report)


def is_main_process() -> bool:
    """Whether this process reports and writes; to be known before the processes have met."""
    return int(os.environ.get("RANK", 0)) == 0


class StageRun:
    """A request whose folders and numbers have been looked at, so that it can be trained."""

    def __init__(self, request: StageRequest, options: TrainingOptions) -> None:
        """Raises as `train_stage`, but for clips that cannot be used."""
        self.request, self.options = request, options
        self.stage = request.resolved()
        self.identity = {**request.identity(), **options.identity(self.stage)}
        self._device = _own_device(options.device)
        self._loop = options.loop(self.stage, on_gpu=self._device.type == "cuda")
        self._finished = self._finished_before()
        if self._finished is None:
            self._check_run_folder()
            self._begin()

    def train(self, report: Report | None = None) -> Outcome:
        """As `train_stage`."""
        if self._finished is not None:
            return self._outcome(int(self._finished["trained_steps"]), was_finished=True)
        folder = self.request.folder
        if is_main_process():
            write_json(folder / f"{self.stage.name}.json", self.identity)
        try:
            steps = train(self._training, self._loop, folder, report)
        finally:
            self._source.drawn.close()
        self._write(steps)
        return self._outcome(steps, was_finished=False)

    def _finished_before(self) -> dict[str, Any] | None:
        """The record of the output if there is nothing left to do."""
        record = check_output(self.request.output, self.identity)
        if record is None or changes(record, self.options.budget()):
            return None
        return record

    def _check_run_folder(self) -> None:
        known = read_json(self.request.folder / f"{self.stage.name}.json")
        if known and (changed := changes(known, self.identity)):
            raise InputError(
                f"The run in '{self.request.folder}' was begun otherwise ({changed}); go on as it "
                "was begun, name another folder for this one, or delete that."
            )

    def _begin(self) -> None:
        options, stage = self.options, self.stage
        start = find_start(self.request.start)
        check_start(stage, start)
        on_gpu = self._device.type == "cuda"
        precision = options.precise(on_gpu) if on_gpu else "no"
        place = Place(
            device=self._device, seed=options.seed, frames=options.frames,
            frozen_dtype=_DTYPES[precision],
        )  # fmt: skip
        self._beginning = begin(self.request, stage, start, place)
        self._frames = options.frames or self._beginning.own_frames
        if stage.detail_guidance == "ends" and self._frames < 2:
            raise InputError(f"A clip with two ends needs 2 frames or more, not {self._frames}.")
        self._latent_size = _latent_size(self._beginning, options)
        self._size = tuple(side * _scale(self._beginning) for side in self._latent_size)
        self._source = self._clips()
        self._training = ClipTraining(
            stage, options.batch, self._source, self._beginning.unet, self._beginning.scheduler,
            self._beginning.image_context,
        )  # fmt: skip

    def _clips(self) -> EncodedClips:
        options, request = self.options, self.request
        source = clip_source(
            request.clips, options, (self._size[0], self._size[1]), self._frames,
            single=self.stage.data == "frames",
        )  # fmt: skip
        drawn = DrawnClips(source, options.batch, workers=options.workers)
        kind = self._beginning.settings.get("pace_kind")
        return EncodedClips(drawn, self._beginning.frozen, self._device, kind)

    def _write(self, steps: int) -> None:
        """Collect the weights, in every process, and write them in the main one."""
        beginning = self._beginning
        unet = whole_state_dict(beginning.unet)
        context = beginning.image_context
        context_state = None if context is None else whole_state_dict(context)
        if not is_main_process():
            return
        record = {**self.identity, **self.options.budget(), "trained_steps": steps}
        trained = Trained(
            stage=self.stage, beginning=beginning, unet=unet, image_context=context_state,
            size=(self._size[0], self._size[1]), latent_size=self._latent_size,
            frames=self._frames, record=record,
        )  # fmt: skip
        write_result(trained, self.request.output)

    def _outcome(self, steps: int, *, was_finished: bool) -> Outcome:
        return Outcome(
            stage=self.stage.name, output=self.request.output, steps=steps,
            was_finished=was_finished,
            skipped={} if was_finished else dict(self._source.drawn.skipped),
        )  # fmt: skip


class ClipTraining(StageTraining):
    """A stage whose clips are read ahead."""

    source: EncodedClips

    def foresee(self, seeds: Iterator[int]) -> None:
        """As `training.stage.Foreseeing`."""
        self.source.foresee(seeds)


def _own_device(name: str) -> torch.device:
    """The device of this process: "auto" and "cuda" are the GPU of its own."""
    chosen = choose_device(name)
    if chosen.type == "cuda" and ":" not in name:
        chosen = torch.device("cuda")
    return process_device(chosen)


def _scale(beginning: Beginning) -> int:
    """Pixels of a side for each of the latents."""
    return int(2 ** (len(beginning.frozen.vae.config.block_out_channels) - 1))


def _latent_size(beginning: Beginning, options: TrainingOptions) -> tuple[int, int]:
    """Height and width of the latents.  Raises InputError for a size that they cannot have."""
    scale = _scale(beginning)
    multiple = scale * _SIZE_MULTIPLE
    sides = []
    for number, name in enumerate(("height", "width")):
        given: int | None = getattr(options, name)
        pixels = beginning.own_size[number] * scale if given is None else given
        if pixels % multiple:
            raise InputError(f"{name} is {pixels}; give a multiple of {multiple}.")
        sides.append(pixels // scale)
    return sides[0], sides[1]
