"""One clip of a DynamiCrafter model: made from a rendered picture, read with the judge and CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPModel

from stillmotion.dynamicrafter.loading import LoadedDynamiCrafter, load_dynamicrafter
from stillmotion.evaluation.measure import Row, channels_first
from stillmotion.evaluation.metrics.steps import first_step_ratio, step_sizes
from stillmotion.evaluation.samples import Sample, domain_of, make_sample
from stillmotion.miniature.clip import clip_image_features
from stillmotion.miniature.data import to_uint8
from stillmotion.miniature.judge import ATTRIBUTES, Judge
from stillmotion.models.loading import silent_libraries
from stillmotion.models.registry import MINIATURE_DYNAMICRAFTER, part_path, resolve_model
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at

JUDGE = "judge.safetensors"
WITHHELD = ("without-context", "without-guidance", "without-either")
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "without-context": {"image_context": False},
    "without-guidance": {"detail_guidance": False},
    "without-either": {"image_context": False, "detail_guidance": False},
    "exact-first-frame": {"exact_first_frame": True},
    "later-start": {"start_timestep": 940},
    "stride-2": {"frame_stride": 2},
    "stride-1": {"frame_stride": 1},
    "image-guidance": {"image_guidance_scale": 3.0},
    "no-rescaling": {"guidance_rescale": 0.0},
    "no-fresh-noise": {"eta": 0.0},
}
"""Settings that are measured by themselves, as changes of a model's own; `WITHHELD` keep back what
the network is told of the picture."""
Picture = NDArray[np.uint8]


class VideoMeasurer:
    """Makes and judges clips of one model, of scenes that training never saw."""

    def __init__(self, reference: str, device: str) -> None:
        self._reference, self._device = reference, device

    @cached_property
    def model(self) -> LoadedDynamiCrafter:
        """The model with its defaults."""
        return load_dynamicrafter(self._reference, device=self._device)

    @cached_property
    def judge(self) -> Judge:
        """The judge of `looking_folder`."""
        return Judge.load(part_path(self._looking, JUDGE))

    @cached_property
    def clip(self) -> CLIPModel:
        """Its CLIP, both towers."""
        with silent_libraries():
            return CLIPModel.from_pretrained(
                part_path(self._looking, "image_encoder"), dtype=torch.float32
            ).eval()

    @property
    def _looking(self) -> Path:
        return looking_folder(self.model.folder.path)

    def picture(self, change: str, index: int) -> Row:
        """A clip from a scene's first frame and its caption, in the looks by turns.

        `change` is one of `CHANGES`: the same sample with other settings.
        """
        sample = picture_sample(index)
        first = self._rendered(sample, 0.0)
        frames = self._animate(sample, first, None, **CHANGES[change])
        return self._read(frames, sample, first)

    def first_picture(self, sample: Sample) -> Picture:
        """The scene of a sample as it begins, (h w 3)."""
        return self._rendered(sample, 0.0)

    def ends(self, index: int) -> Row:
        """A clip between a scene's first and last frame."""
        sample = _sample("ends", index)
        first, last = self._rendered(sample, 0.0), self._rendered(sample, 1.0)
        frames = self._animate(sample, first, last)
        closeness = self._similarity(frames[-1:], last)[0]
        return {**self._read(frames, sample, first), "end": float(closeness)}

    def _animate(
        self, sample: Sample, first: Picture, last: Picture | None, **changes: Any
    ) -> Picture:
        model = self.model
        made = model.pipeline.animate(
            first, sample.prompt, seed=sample.seed,
            num_frames=model.folder.description.num_frames,
            settings=model.settings.changed(**changes), last_frame=last,
        )  # fmt: skip
        frames: Picture = made.frames[0]
        return frames

    def _rendered(self, sample: Sample, at: float) -> Picture:
        """The scene when `at` (0 to 1) of the clip has passed, (h w 3)."""
        num_frames = self.model.folder.description.num_frames
        moments = progress(sample.scene, num_frames)
        moment = moments[[round(at * (num_frames - 1))]]
        frame = render_at(sample.scene, moment, self.model.folder.description.height).frames
        return np.ascontiguousarray(to_uint8(frame)[0].permute(1, 2, 0).numpy())

    def _read(self, frames: Picture, sample: Sample, first: Picture) -> Row:
        clip = channels_first(frames)
        verdicts = [asdict(verdict) for verdict in self.judge.frames(clip)]
        features = self.judge.motion_features(clip[None])[0].tolist()
        return {
            **{name: [v[name] == getattr(sample.scene, name) for v in verdicts]
               for name in ATTRIBUTES},
            "motion": self.judge.motion(clip[None])[0] == sample.scene.motion,
            "first_mse": float(((frames[0].astype(float) - first) ** 2).mean()),
            "first_step": first_step_ratio(step_sizes(frames)),
            "conformity": float(self._similarity(frames, first).mean()),
            "mean_step": float(step_sizes(frames).mean()),
            "features": [round(value, 4) for value in features],
        }  # fmt: skip

    @torch.no_grad()
    def _similarity(self, frames: Picture, picture: Picture) -> NDArray[np.float64]:
        """Cosine between CLIP's features of each frame and those of a picture, (f)."""
        features = clip_image_features(self.clip, channels_first(np.stack([picture, *frames])))
        cosines: NDArray[np.float64] = (features[1:] @ features[0]).double().numpy()
        return cosines


def looking_folder(model: Path) -> Path:
    """Where the judge and the CLIP that look at a model's clips lie.

    The model's own, of the training run that made it; the package's for a model without a judge,
    one trained on from the package's say.
    """
    if part_path(model, JUDGE).is_file():
        return model
    return resolve_model(MINIATURE_DYNAMICRAFTER).path


def real_clips(judge: Judge, size: int, num_frames: int, count: int) -> Tensor:
    """The judge's features (count 192) of the clips themselves that `picture` begins."""
    found = []
    for index in range(count):
        scene = picture_sample(index).scene
        clip = to_uint8(render_at(scene, progress(scene, num_frames), size).frames)
        found.append(judge.motion_features(clip[None]))
    return torch.cat(found)


def picture_sample(index: int) -> Sample:
    """What `VideoMeasurer.picture` makes."""
    return _sample("picture", index)


def _sample(task: str, index: int) -> Sample:
    return make_sample(task, index, domain=domain_of(index), names_look=True)
