"""One clip, all metrics: known answers, and nothing that the extractors at hand cannot give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stillmotion.evaluation.benchmark.cases import rendered_cases, rendered_clip
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.scoring import Scored, Scorer
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.miniature.judge import ATTRIBUTES

CASE = rendered_cases(1)[0]
CLIP = rendered_clip(CASE, 8, 64)


class Looks:
    """Features that can be worked out by hand: the mean colour, as a unit vector."""

    name, identity = "mean colour", "0"

    def frames(self, frames: Tensor) -> Tensor:
        return F.normalize(frames.float().mean((2, 3)) + 1, dim=1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(torch.tensor([[1.0, 0, 0]] * len(texts)), dim=1)

    def style_tokens(self, frames: Tensor) -> Tensor:
        return frames.float().flatten(2).mT[:, ::64]

    def clips(self, clips: Tensor) -> Tensor:
        return clips.float().mean((1, 3, 4))

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.ones(*first.shape[1:], 2)


class Reads:
    """A judge that sees the truth in every second frame, and a motion."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.truth = truth

    def frames(self, frames: Tensor) -> list[Any]:
        from stillmotion.miniature.judge import Verdict

        wrong = dict.fromkeys(ATTRIBUTES, "?")
        right = {name: self.truth[name] for name in ATTRIBUTES}
        return [Verdict(**(right if i % 2 else wrong)) for i in range(len(frames))]

    def motion(self, clips: Tensor) -> list[str]:
        return ["spin"]


def scorer(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> Scorer:
    every: dict[str, Any] = dict.fromkeys(("clip", "perceptual", "video", "flow", "judge"))
    monkeypatch.setattr(Scorer, "parts", SimpleNamespace(**{**every, **parts}))
    return Scorer(None, "cpu")  # type: ignore[arg-type]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Scorer:
    looks = Looks()
    return scorer(
        monkeypatch, clip=looks, perceptual=looks, video=looks, flow=looks,
        judge=SimpleNamespace(judge=Reads(dict(CASE.facts)), device="cpu"),
    )  # fmt: skip


def scored(**changes: Any) -> Scored:
    return replace(Scored(frames=CLIP, case=CASE, picture=CLIP[0], real=CLIP), **changes)


def test_every_key_is_of_the_catalogue(full: Scorer) -> None:
    metrics, features = full.score(scored())
    assert set(metrics) <= set(CATALOGUE)
    assert set(features) == {"video", "video-real"}


def test_the_picture_as_frame_1_is_exact(full: Scorer) -> None:
    metrics, _ = full.score(scored())
    assert metrics["i1_mse"] == 0.0
    assert metrics["i1_psnr"] is None
    assert metrics["i1_mse_uint8wrap"] == 0.0


def test_another_frame_1_has_its_error(full: Scorer) -> None:
    other = CLIP.copy()
    other[0] = np.clip(CLIP[0].astype(int) + 3, 0, 255)
    wanted = float(((other[0].astype(float) - CLIP[0]) ** 2).mean())
    assert full.score(scored(frames=other))[0]["i1_mse"] == pytest.approx(wanted)


def test_a_clip_at_rest_has_no_ratios_and_no_warping_error(full: Scorer) -> None:
    rest = np.repeat(CLIP[:1], 8, 0)
    metrics, _ = full.score(scored(frames=np.full_like(rest, 90), picture=rest[0]))
    assert metrics["flicker"] == 0.0
    assert metrics["first_step_ratio"] is None
    assert metrics["warping_error"] == 0.0


def test_the_judge_counts_frames_and_the_clip(full: Scorer) -> None:
    metrics, _ = full.score(scored())
    assert metrics["subject"] == metrics["domain"] == 0.5
    assert metrics["subject_last"] == 1.0
    assert metrics["motion_right"] == float(CASE.facts["motion"] == "spin")


def test_a_case_without_truth_is_not_judged(full: Scorer) -> None:
    bare = Case(name="x", prompt="a red ball", seed=0)
    assert "subject" not in full.score(scored(case=bare))[0]


def test_the_domain_is_that_of_the_drawn_pictures(full: Scorer, tmp_path: Path) -> None:
    path = tmp_path / "drawn.png"
    Image.fromarray(CLIP[0]).save(path)
    rest = np.repeat(CLIP[:1], 8, 0)
    metrics, _ = full.score(scored(frames=rest, domain=(path,)))
    assert metrics["domain_sim"] == pytest.approx(1.0, abs=1e-6)
    assert "domain_sim" not in full.score(scored(frames=rest))[0]


def test_the_domain_of_one_case_is_not_taken_for_that_of_another(
    full: Scorer, tmp_path: Path
) -> None:
    rest = np.repeat(CLIP[:1], 8, 0)
    found = []
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(path)
        case = CASE.model_copy(update={"name": name})
        found.append(full.score(scored(frames=rest, case=case, domain=(path,)))[0]["domain_sim"])
    assert found[0] != pytest.approx(found[1], abs=1e-3)


def test_a_picture_of_another_size_is_fitted(full: Scorer) -> None:
    flat = np.full((8, 64, 64, 3), 77, np.uint8)
    large = np.full((128, 192, 3), 77, np.uint8)
    assert full.score(scored(frames=flat, picture=large))[0]["i1_mse"] == 0.0


def test_without_extractors_the_pixels_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, features = scorer(monkeypatch).score(scored())
    assert features == {}
    assert {"i1_mse", "flicker", "late_drift", "saturation_drift"} <= set(metrics)
    assert not {"text_sim", "warping_error", "input_conformity", "subject"} & set(metrics)


def test_real_features_are_left_out_for_clips_without_an_original(full: Scorer) -> None:
    assert set(full.score(scored(real=None))[1]) == {"video"}


def test_a_given_end_has_its_error(full: Scorer) -> None:
    assert "end_mse" not in full.score(scored())[0]
    assert full.score(scored(end=CLIP[-1]))[0]["end_mse"] == 0.0
    wanted = float(((CLIP[-1].astype(float) - CLIP[0]) ** 2).mean())
    assert full.score(scored(end=CLIP[0]))[0]["end_mse"] == pytest.approx(wanted)
