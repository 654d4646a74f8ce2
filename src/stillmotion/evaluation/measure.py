"""One sample of each task: make it with the model, read it with the judge."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.evaluation.metrics.steps import first_step_ratio, late_drift, step_sizes
from stillmotion.evaluation.samples import Sample, domain_of, make_sample
from stillmotion.media.still import Still
from stillmotion.miniature.judge import Judge
from stillmotion.models.registry import resolve_model

Row = dict[str, Any]


class Measurer:
    """Makes and judges samples with one model folder; looks are loaded when first needed."""

    def __init__(self, reference: str, device: str) -> None:
        self._reference, self._device = reference, device
        self._models: dict[str, LoadedModel] = {}

    def model(self, domain: str = "plain") -> LoadedModel:
        """The model in a look."""
        if domain not in self._models:
            self._models[domain] = load_model(
                self._reference, look=None if domain == "plain" else domain, device=self._device
            )
        return self._models[domain]

    @cached_property
    def judge(self) -> Judge:
        """The judge that lies in the model's folder."""
        return Judge.load(resolve_model(self._reference).path / "judge.safetensors")

    def still(self, index: int) -> Row:
        """A drawn still, in the looks by turns: does it show what was asked for?"""
        domain = domain_of(index)
        sample = make_sample("still", index, domain=domain, motion=False)
        return self._verdict(self._draw(sample, domain).image, sample)

    def animatediff(self, index: int) -> Row:
        """A plain AnimateDiff clip: does it move as asked?"""
        sample = make_sample("clip", index)
        frames = self._animate(None, sample, FIG6_ROWS["a"])
        return {"motion": self._moves(frames, sample), **self._evenness(frames)}

    def animatezero(self, index: int) -> Row:
        """An AnimateZero clip: does it move as asked, and is its last frame still the subject?"""
        sample = make_sample("clip", index)
        still = self._draw(sample, "plain")
        frames = self._animate(still, sample, AnimateZeroSettings())
        last = {f"last_{k}": v for k, v in self._verdict(frames[-1], sample).items()}
        first = {f"first_{k}": v for k, v in self._verdict(frames[0], sample).items()}
        exact = bool((frames[0] == still.image).all())
        return {"motion": self._moves(frames, sample), "exact": exact, **first, **last,
                **self._evenness(frames)}  # fmt: skip

    def ablation(self, index: int) -> Row:
        """One prompt through all rows of Fig. 6, in the looks by turns, with one still."""
        domain = domain_of(index)
        sample = make_sample("ablation", index, domain=domain)
        still = self._draw(sample, domain)
        rows: Row = {}
        for name, control in FIG6_ROWS.items():
            frames = self._animate(still, sample, control, domain)
            verdict = self._verdict(frames[-1], sample)
            rows[name] = {
                **self._evenness(frames),
                "steps": step_sizes(frames).round(4).tolist(),
                "i1_mse": float(((frames[0].astype(float) - still.image) ** 2).mean()),
                "last_subject": verdict["subject"],
                "motion": self._moves(frames, sample),
            }
        return {"domain": domain, "rows": rows}

    def _draw(self, sample: Sample, domain: str, guide: ControlGuide | None = None) -> Still:
        model = self.model(domain)
        [still] = model.pipeline.draw(
            model.styled(sample.prompt), seeds=[sample.seed], sampling=model.sampling, guide=guide
        )
        return still

    def _animate(
        self, still: Still | None, sample: Sample, control: AnimateZeroSettings,
        domain: str = "plain",
    ) -> NDArray[np.uint8]:  # fmt: skip
        model = self.model(domain)
        if still is None:  # nothing of the still enters plain AnimateDiff; any picture will do
            size = (model.sampling.height or 64, model.sampling.width or 64, 3)
            still = Still(image=np.zeros(size, np.uint8))
        made = model.pipeline.animate(
            still, model.styled(sample.prompt), seed=sample.seed,
            num_frames=model.folder.description.num_frames, sampling=model.sampling,
            control=control,
        )  # fmt: skip
        frames: NDArray[np.uint8] = made.frames[0]
        return frames

    def _verdict(self, image: NDArray[np.uint8], sample: Sample) -> dict[str, bool]:
        [verdict] = self.judge.frames(channels_first(image)[None])
        read = asdict(verdict)
        return {name: value == getattr(sample.scene, name) for name, value in read.items()}

    def _moves(self, frames: NDArray[np.uint8], sample: Sample) -> bool:
        return self.judge.motion(channels_first(frames)[None])[0] == sample.scene.motion

    def _evenness(self, frames: NDArray[np.uint8]) -> dict[str, float]:
        steps = step_sizes(frames)
        return {"first_step": first_step_ratio(steps), "late_drift": late_drift(steps),
                "mean_step": float(steps.mean())}  # fmt: skip


def channels_first(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (... h w c) as a tensor (... c h w)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))
