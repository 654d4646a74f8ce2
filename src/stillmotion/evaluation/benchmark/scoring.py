"""All metrics of one clip, by the extractors that a run has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.extractors.choice import ExtractorChoice, Extractors, load_extractors
from stillmotion.evaluation.extractors.judge import LoadedJudge
from stillmotion.evaluation.measure import channels_first
from stillmotion.evaluation.metrics import (
    colour,
    fidelity,
    flicker,
    regularity,
    style,
    warping,
)
from stillmotion.evaluation.metrics.catalogue import stored
from stillmotion.evaluation.metrics.domain_similarity import domain_similarity
from stillmotion.evaluation.metrics.flow import motion_magnitude
from stillmotion.evaluation.metrics.flow_fields import clip_flow
from stillmotion.evaluation.metrics.input_conformity import clip_conformity, input_conformity
from stillmotion.evaluation.metrics.smoothness import motion_smoothness
from stillmotion.evaluation.metrics.steps import first_step_ratio, late_drift, step_sizes
from stillmotion.evaluation.metrics.text_similarity import text_similarity
from stillmotion.media.fit import fit_picture
from stillmotion.media.images import load_image
from stillmotion.miniature.judge import ATTRIBUTES

Numbers = Iterator[tuple[str, float]]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A clip, and what it is held against."""

    frames: Frames
    """(f h w 3), at least 2."""
    case: Case
    picture: Frames
    """I_1 (h w 3); of another size it is scaled to cover the frame and cut, as methods do."""
    real: Frames | None = None
    """The clip (f h w 3) that the picture is from, of which features are wanted as well."""
    end: Frames | None = None
    """A picture (h w 3) that the last frame was to be; fitted as `picture` is."""
    domain: tuple[Path, ...] = ()
    """Pictures that the image model drew for the words."""


class Scorer:
    """Scores clips; what belongs to a case is computed once while its clips come one by one."""

    def __init__(self, choice: ExtractorChoice, device: str) -> None:
        self._choice, self._device = choice, device
        self._domain: tuple[str, Tensor] | None = None

    @cached_property
    def parts(self) -> Extractors:
        """The networks."""
        return load_extractors(self._choice, self._device)

    def score(self, scored: Scored) -> tuple[dict[str, float | None], dict[str, tuple[float, ...]]]:
        """Metrics by the catalogue's keys, None where one is not defined; and features of sets."""
        picture, _ = fit_picture(scored.picture, scored.frames.shape[1:3])
        frames = channels_first(scored.frames)
        given = channels_first(picture[None])
        numbers: dict[str, float] = dict(_of_pixels(scored.frames, picture))
        if scored.end is not None:
            end, _ = fit_picture(scored.end, scored.frames.shape[1:3])
            numbers["end_mse"] = fidelity.end_mse(scored.frames, end)
        parts = self.parts
        if parts.flow is not None:
            numbers |= dict(_of_flow(frames, parts))
        if parts.clip is not None:
            numbers |= dict(self._of_clip(frames, given, scored))
        if parts.perceptual is not None:
            seen = parts.perceptual.frames(torch.cat((given, frames)))
            numbers["input_conformity"] = input_conformity(seen[1:], seen[0])
        if parts.judge is not None and all(name in scored.case.facts for name in ATTRIBUTES):
            numbers |= dict(_judged(parts.judge, frames, scored.case.facts))
        return {key: stored(value) for key, value in numbers.items()}, self._features(scored)

    def _of_clip(self, frames: Tensor, given: Tensor, scored: Scored) -> Numbers:
        clip = self.parts.clip
        assert clip is not None
        seen = clip.frames(torch.cat((given, frames)))
        yield "text_sim", text_similarity(seen[1:], clip.texts([scored.case.prompt]))
        if scored.domain:
            yield "domain_sim", domain_similarity(seen[1:], self._domain_features(scored))
        tokens = clip.style_tokens(torch.cat((given, frames)))
        yield "style_dist", style.style_distance(tokens[1:], tokens[0])
        yield "style_dist_raw", style.style_distance_raw(tokens[1:], tokens[0])
        yield "clip_conformity", clip_conformity(seen[1:], seen[0])

    def _domain_features(self, scored: Scored) -> Tensor:
        assert self.parts.clip is not None
        name = scored.case.name
        if self._domain is None or self._domain[0] != name:
            drawn = [channels_first(load_image(path)[None]) for path in scored.domain]
            self._domain = name, self.parts.clip.frames(torch.cat(drawn))
        return self._domain[1]

    def _features(self, scored: Scored) -> dict[str, tuple[float, ...]]:
        video = self.parts.video
        if video is None:
            return {}
        clips = {"video": scored.frames}
        if scored.real is not None:
            clips["video-real"] = scored.real
        return {
            part: tuple(round(x, 5) for x in video.clips(channels_first(clip)[None])[0].tolist())
            for part, clip in clips.items()
        }


def _of_pixels(frames: Frames, picture: Frames) -> Numbers:
    yield "i1_mse", fidelity.i1_mse(frames, picture)
    yield "i1_psnr", fidelity.psnr(frames[0], picture)
    yield "i1_mse_uint8wrap", fidelity.i1_mse_uint8wrap(frames, picture)
    steps = step_sizes(frames)
    yield "flicker", flicker.flicker(frames)
    yield "first_step_ratio", first_step_ratio(steps)
    yield "largest_step_ratio", regularity.largest_step_ratio(steps)
    yield "late_drift", late_drift(steps)
    yield "loop_error", regularity.return_ratio(frames)
    yield "saturation_drift", colour.saturation_drift(frames)
    yield "brightness_drift", colour.brightness_drift(frames)


def _of_flow(frames: Tensor, parts: Extractors) -> Numbers:
    assert parts.flow is not None
    flow = clip_flow(frames, parts.flow)
    yield "warping_error", warping.warping_error(frames, flow)
    yield "motion_magnitude", motion_magnitude(flow)
    yield "motion_smoothness", motion_smoothness(flow)


def _judged(loaded: LoadedJudge, frames: Tensor, truth: Mapping[str, Any]) -> Numbers:
    """Shares of frames, and 0 or 1 for what is asked of the clip as a whole."""
    seen = frames.to(loaded.device)
    verdicts = [asdict(verdict) for verdict in loaded.judge.frames(seen)]
    for name in ATTRIBUTES:
        yield name, float(np.mean([verdict[name] == truth[name] for verdict in verdicts]))
    yield "subject_last", float(verdicts[-1]["subject"] == truth["subject"])
    yield "motion_right", float(loaded.judge.motion(seen[None])[0] == truth["motion"])
