"""One sample of each feature: make the clip, judge it, read numbers off it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.memory import apply_plan, store_float8
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.requests import Prompt
from stillmotion.evaluation.features import (
    FEATURES,
    REFERENCE,
    Feature,
    clip_numbers,
    difference,
    other_scene,
    other_seed,
    target_of,
)
from stillmotion.evaluation.measure import Measurer, Row
from stillmotion.evaluation.metrics.edge_agreement import edge_agreement
from stillmotion.evaluation.samples import Sample, domain_of, make_sample
from stillmotion.media.control_maps import edges
from stillmotion.media.still import Still
from stillmotion.miniature.data import to_uint8
from stillmotion.models.controlnets import load_controlnet
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.memory import PRESETS
from stillmotion.runtime.system import peak_memory_bytes
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Scene


@dataclass(frozen=True)
class _Made:
    frames: NDArray[np.uint8]
    first: Still
    last: Still | None
    seconds: float
    peak_bytes: int
    guide: ControlGuide | None


class FeatureMeasurer(Measurer):
    """Measures features as well; the clips that others are compared with lie in `folder`."""

    def __init__(self, reference: str, device: str, folder: Path) -> None:
        super().__init__(reference, device)
        self._folder = folder / "feature"

    def feature(self, name: str, index: int) -> Row:
        """One prompt of the ablation with one of `FEATURES`, in the looks by turns."""
        feature, domain = FEATURES[name], domain_of(index)
        sample = make_sample("ablation", index, domain=domain)
        made = self._make(feature, sample)
        end = None if made.last is None else made.last.image
        row: Row = {
            "domain": domain,
            **clip_numbers(feature, made.frames, made.first.image, end),
            **self._judged(feature, sample, made.frames),
            "seconds": made.seconds,
            "peak_bytes": made.peak_bytes,
        }
        row |= self._edges(made, sample)
        if name == REFERENCE:
            with atomic_path(self._reference_path(index), overwrite=True) as temporary:
                np.save(temporary, made.frames)
        if feature.is_compared:
            row["difference"] = difference(made.frames, self._reference_frames(index))
        return row

    def _make(self, feature: Feature, sample: Sample) -> _Made:
        # One look in memory at a time, and none that a memory plan has narrowed.
        self._models.clear()
        model = self.model(sample.scene.domain)
        num_frames = feature.num_frames or model.folder.description.num_frames
        guide = _guide(model, sample.scene, num_frames) if feature.follows_edges else None
        first = self._first(feature, sample, guide)
        last = self._last(feature, sample, first)
        plan = PRESETS[feature.memory].on(model.pipeline.device)
        if plan.weights == "float8":
            store_float8(model.pipeline.unet)
            # The still was drawn before: to its fingerprint this is another model.
            identity = {"fingerprint": model.pipeline.model_fingerprint}
            first = replace(first, model=first.model | identity)
        with apply_plan(model.pipeline, plan, device=model.pipeline.device):
            began = perf_counter()
            made = model.pipeline.animate(
                first, _words(model, feature, sample, num_frames), seed=sample.seed,
                num_frames=num_frames, sampling=model.sampling, control=feature.control,
                last_frame=last, guide=guide, memory=plan,
                photograph=feature.photograph or PhotographSettings(),
            )  # fmt: skip
            seconds = perf_counter() - began
        peak = _peak_bytes(model.pipeline.device)
        return _Made(made.frames[0], first, last, seconds, peak, guide)

    def _edges(self, made: _Made, sample: Sample) -> Row:
        """How well the clip follows its guide's edges, and, to compare, those of another scene."""
        followed = by_chance = float("nan")
        if made.guide is not None:
            found = edges(made.frames)
            other = _rendered(
                self.model(sample.scene.domain), other_scene(sample).scene, len(found)
            )
            followed = edge_agreement(found, made.guide.maps)
            by_chance = edge_agreement(found, edges(other))
        return {"edges_followed": followed, "edges_by_chance": by_chance}

    def _first(self, feature: Feature, sample: Sample, guide: ControlGuide | None) -> Still:
        domain = sample.scene.domain
        if feature.photograph is None:
            return self._draw(sample, domain, guide)
        return Still(image=_rendered(self.model(domain), sample.scene, 1)[0])

    def _last(self, feature: Feature, sample: Sample, first: Still) -> Still | None:
        if feature.end == "loop":
            return first
        if feature.end == "other still":
            return self._draw(replace(sample, seed=other_seed(sample)), sample.scene.domain)
        if feature.end == "other scene":
            return self._draw(other_scene(sample), sample.scene.domain)
        return None

    def _judged(
        self, feature: Feature, sample: Sample, frames: NDArray[np.uint8]
    ) -> dict[str, bool | None]:
        """The last frame against what it should show, and the motion, if one alone is asked for."""
        verdict = self._verdict(frames[-1], target_of(feature, sample))
        two_motions = feature.end == "other scene"
        return {
            "motion": None if two_motions else self._moves(frames, sample),
            **{f"last_{name}": is_right for name, is_right in verdict.items()},
        }

    def _reference_path(self, index: int) -> Path:
        return self._folder / f"{REFERENCE}-{index}.npy"

    def _reference_frames(self, index: int) -> NDArray[np.uint8]:
        path = self._reference_path(index)
        if not path.exists():
            self.feature(REFERENCE, index)
        frames: NDArray[np.uint8] = np.load(path)
        return frames


def _words(model: LoadedModel, feature: Feature, sample: Sample, num_frames: int) -> Prompt:
    words, target = model.styled(sample.prompt), target_of(feature, sample)
    if target is sample:
        return words
    return PromptTrack.towards(words, model.styled(target.prompt), num_frames)


def _guide(model: LoadedModel, scene: Scene, num_frames: int) -> ControlGuide:
    net = load_controlnet(None, model.pipeline.unet, model.folder.path)
    return ControlGuide(net=net, maps=edges(_rendered(model, scene, num_frames)))


def _rendered(model: LoadedModel, scene: Scene, num_frames: int) -> NDArray[np.uint8]:
    """The scene as the world has it: uint8 (f h w 3) in the model's size."""
    clip = to_uint8(render_clip(scene, num_frames, model.sampling.height or 64).frames)
    pixels: NDArray[np.uint8] = np.ascontiguousarray(clip.permute(0, 2, 3, 1).numpy())
    return pixels


def _peak_bytes(device: torch.device) -> int:
    """The most memory of this process so far: of its tensors on a GPU, else of all of it."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_memory_bytes()
