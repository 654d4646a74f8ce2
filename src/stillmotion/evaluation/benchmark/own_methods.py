"""This package's methods: AnimateZero with every row of Fig. 6, DynamiCrafter, and plain bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, TimeTravel
from stillmotion.dynamicrafter.loading import LoadedDynamiCrafter, load_dynamicrafter
from stillmotion.evaluation.ablation import ROW_NAMES
from stillmotion.evaluation.benchmark.methods import Context, Frames, Job, MethodSpec
from stillmotion.media.fit import fit_picture
from stillmotion.media.still import Still


@dataclass
class AnimateZeroMaker:
    """AnimateZero, or AnimateDiff, with settings of its own; a model for each group of cases."""

    context: Context
    control: AnimateZeroSettings
    takes_photographs: bool = False
    """Whether it animates a picture that the model did not draw."""
    loaded: dict[str, LoadedModel] = field(default_factory=dict)

    def make(self, job: Job) -> Frames:
        """The clip of a still, by the model that drew it, or of a picture."""
        reference = reference_of(self.context.models["animatezero"], job.case.facts)
        if reference not in self.loaded:
            self.loaded.clear()  # one at a time: the cases come ordered by their models
            self.loaded[reference] = load_model(reference, device=self.context.device)
        model = self.loaded[reference]
        still = job.still
        if self.takes_photographs:
            says = model.folder.description
            still = Still(image=fit_picture(still.image, (says.height, says.width))[0])
        made = model.pipeline.animate(
            still, model.styled(job.case.prompt), seed=job.case.seed,
            num_frames=job.num_frames, sampling=model.sampling, control=self.control,
        )  # fmt: skip
        frames: Frames = made.frames[0]
        return frames


def reference_of(default: str, facts: Mapping[str, Any]) -> str:
    """The model of a case: its own, or the benchmark's, with its look behind it."""
    reference = str(facts.get("model") or default)
    look = str(facts.get("look") or "plain")
    return reference if look == "plain" else f"{reference}@{look}"


@dataclass
class DynamiCrafterMaker:
    """DynamiCrafter with its model's settings, but for `changes`."""

    context: Context
    changes: Mapping[str, Any]
    says_text: bool = True
    loaded: LoadedDynamiCrafter | None = None

    def make(self, job: Job) -> Frames:
        """The clip of a picture."""
        if self.loaded is None:
            reference = self.context.weights or self.context.models["dynamicrafter"]
            self.loaded = load_dynamicrafter(reference, device=self.context.device)
        made = self.loaded.pipeline.animate(
            job.still.image, job.case.prompt if self.says_text else "", seed=job.case.seed,
            num_frames=job.num_frames, settings=self.loaded.settings.changed(**self.changes),
        )  # fmt: skip
        frames: Frames = made.frames[0]
        return frames


@dataclass
class StillMaker:
    """The picture itself for the whole clip: what a perfect likeness without motion scores."""

    context: Context

    def make(self, job: Job) -> Frames:
        """The picture, repeated."""
        return np.repeat(job.still.image[None], job.num_frames, 0)


def _of_animatezero(name: str, title: str, control: AnimateZeroSettings) -> MethodSpec:
    return MethodSpec(
        name=name, title=title, build=partial(AnimateZeroMaker, control=control),
        settings=_changed(control), protocols=("animatezero",), default=("animatezero",),
        model="animatezero",
    )  # fmt: skip


def _of_dynamicrafter(
    name: str, title: str, changes: Mapping[str, Any], *, says_text: bool = True
) -> MethodSpec:
    return MethodSpec(
        name=name, title=title,
        build=partial(DynamiCrafterMaker, changes=changes, says_text=says_text),
        settings=dict(changes) if says_text else {**changes, "text": ""},
        protocols=("dynamicrafter",), default=("dynamicrafter",), model="dynamicrafter",
    )  # fmt: skip


def _changed(control: AnimateZeroSettings) -> dict[str, Any]:
    """What differs from the defaults, as JSON values."""
    usual = asdict(AnimateZeroSettings())
    return {key: value for key, value in asdict(control).items() if value != usual[key]}


SPECS = (
    _of_animatezero("animatediff", "AnimateDiff", FIG6_ROWS["a"]),
    *(_of_animatezero(f"fig6-{row}", ROW_NAMES[row], FIG6_ROWS[row]) for row in "bcde"),
    _of_animatezero("animatezero", "AnimateZero", AnimateZeroSettings()),
    _of_animatezero(
        "time-travel", "AnimateZero, time travel", AnimateZeroSettings(time_travel=TimeTravel())
    ),
    _of_dynamicrafter("dynamicrafter", "DynamiCrafter", {}),
    _of_dynamicrafter("without-text", "DynamiCrafter without text", {}, says_text=False),
    _of_dynamicrafter("without-context", "without context", {"image_context": False}),
    _of_dynamicrafter(
        "without-detail-guidance", "without detail guidance", {"detail_guidance": False}
    ),
    MethodSpec(
        name="animatezero-photograph", title="AnimateZero on the picture",
        build=partial(
            AnimateZeroMaker, control=AnimateZeroSettings(), takes_photographs=True
        ),
        protocols=("dynamicrafter",),
        model="animatezero",
    ),
    MethodSpec(
        name="still", title="the picture at rest", build=StillMaker, default=("dynamicrafter",),
        is_bound=True,
    ),
)  # fmt: skip
