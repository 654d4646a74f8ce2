"""Warping error: the published code's numbers, a plain loop, and the world's exact flow."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.dis import DisFlow
from stillmotion.evaluation.metrics.flow_fields import ClipFlow, clip_flow, warp
from stillmotion.evaluation.metrics.warping import pair_error, warping_error
from stillmotion.miniature.data import to_uint8
from stillmotion.world.flow import optical_flow
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, sample_scene

CASES = ("plain", "border", "all_occluded_pair")
MOVES = [("car", "left"), ("ball", "left"), ("boat", "right")]


def moving(subject: str, motion: str, size: int = 64) -> tuple[Tensor, ClipFlow]:
    """A rendered clip with its exact flow."""
    fixed = Fixed(subject=subject, motion=motion, pacing="steady", domain="plain")
    scene = sample_scene(random.Random(3), fixed)
    exact = optical_flow(scene, 6, size)
    frames = to_uint8(render_clip(scene, 6, size).frames)
    return frames, ClipFlow(exact.forward.movedim(1, -1), exact.occluded)


@pytest.mark.parametrize("case", CASES)
def test_golden_numbers(case: str, golden: Path) -> None:
    stored = load_file(golden / "metrics" / "warping_error.safetensors")
    frames, forward = stored[f"{case}.frames_THWC"], stored[f"{case}.flow_forward"]
    occluded = stored[f"{case}.occlusion"].bool()
    found = [
        pair_error(frames[k], frames[k + 1], forward[k], occluded[k]) for k in range(len(forward))
    ]
    assert found == pytest.approx(stored[f"{case}.error_per_pair"].tolist(), rel=1e-5)
    pictures = (frames * 255).round().to(torch.uint8).permute(0, 3, 1, 2)
    whole = warping_error(pictures, ClipFlow(forward, occluded))
    assert whole == pytest.approx(1e3 * float(stored[f"{case}.error"]), rel=1e-5)


def test_the_golden_number_from_an_estimator(golden: Path) -> None:
    """From the two flows alone, as an estimator gives them."""
    stored = load_file(golden / "metrics" / "warping_error.safetensors")
    flows = torch.stack((stored["plain.flow_forward"], stored["plain.flow_backward"]), 1)

    class Stored:
        name, identity = "stored", "test"
        left = iter(flows.flatten(0, 1))

        def flow(self, first: Tensor, second: Tensor) -> Tensor:
            return next(self.left)

    pictures = (stored["plain.frames_THWC"] * 255).round().to(torch.uint8).permute(0, 3, 1, 2)
    found = warping_error(pictures, Stored())
    assert found == pytest.approx(1e3 * float(stored["plain.error"]), rel=1e-5)


def test_a_pair_is_the_plain_sum() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 5, 6, 3, generator=rng, dtype=torch.float64)
    forward = torch.randn(5, 6, 2, generator=rng, dtype=torch.float64)
    occluded = torch.rand(5, 6, generator=rng) < 0.4
    moved, total, count = warp(second, forward), 0.0, 0
    for y in range(5):
        for x in range(6):
            if not occluded[y, x]:
                total += sum(float(moved[y, x, c] - first[y, x, c]) ** 2 for c in range(3))
                count += 1
    found = pair_error(first, second, forward, occluded)
    assert found == pytest.approx(total / (3 * count), rel=1e-9)


def test_known_answers() -> None:
    frames = torch.full((3, 3, 4, 4), 100, dtype=torch.uint8)
    none = torch.zeros(2, 4, 4, dtype=torch.bool)
    still = torch.zeros(2, 4, 4, 2)
    assert warping_error(frames, ClipFlow(still, none)) == 0
    frames[2] += 51  # one of the two pairs is apart by 0.2
    assert warping_error(frames, ClipFlow(still, none)) == pytest.approx(1e3 * 0.04 / 2)
    assert warping_error(frames, ClipFlow(still, ~none)) == 0  # nothing to be seen


@pytest.mark.parametrize(("subject", "motion"), MOVES)
def test_exact_flow_explains_a_rendered_clip(subject: str, motion: str) -> None:
    frames, exact = moving(subject, motion)
    error = warping_error(frames, exact)
    assert error < 1  # 1e-3 of squared frames in 0 to 1: what sampling the pixels loses
    for wrong in (torch.zeros_like(exact.forward), -exact.forward, exact.forward.flip(-1)):
        assert warping_error(frames, ClipFlow(wrong, exact.occluded)) > 15 * error


@pytest.mark.parametrize(("subject", "motion"), MOVES)
def test_dis_finds_the_exact_flow_of_what_moves(subject: str, motion: str) -> None:
    """On what moves by more than half a pixel and stays visible: most to a quarter of a pixel."""
    frames, exact = moving(subject, motion, size=128)
    found = clip_flow(frames, DisFlow())
    apart = (found.forward - exact.forward).norm(dim=-1)
    moves = (exact.forward.norm(dim=-1) > 0.5) & ~exact.occluded
    length = exact.forward.norm(dim=-1)[moves].mean()
    assert length > 5
    assert apart[moves].median() < 0.25
    assert apart[moves].mean() < 0.15 * length
    assert warping_error(frames, found) < 1


def test_what_does_not_fit() -> None:
    frames = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    none = torch.zeros(2, 4, 4, dtype=torch.bool)
    with pytest.raises(InputError, match="2 frames do not go with 2 flows"):
        warping_error(frames[:2], ClipFlow(torch.zeros(2, 4, 4, 2), none))
    with pytest.raises(InputError, match="one height and width"):
        warping_error(frames, ClipFlow(torch.zeros(2, 4, 5, 2), none))
    with pytest.raises(InputError, match="at least 2 frames"):
        warping_error(frames[:1], DisFlow())
