"""Warping and occlusion: the published code's numbers, plain loops, and known scenes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.flow_fields import clip_flow, occlusion, rests, warp

CASES = ("plain", "border", "all_occluded_pair")


class Given:
    """Gives a constant flow ahead, and its reverse back."""

    name, identity = "given", "test"

    def __init__(self, x: float, y: float) -> None:
        self._flow, self.asked = torch.tensor([x, y]), 0

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        self.asked += 1
        return (self._flow if self.asked % 2 else -self._flow).expand(*first.shape[1:], 2)


def sampled(values: Tensor, x: float, y: float) -> Tensor:
    """Bilinear interpolation by its definition, coordinates held within the picture."""
    height, width = values.shape[:2]
    total = torch.zeros(values.shape[2], dtype=values.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            total += weight * values[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return total


@pytest.mark.parametrize("case", CASES)
def test_golden_numbers(case: str, golden: Path) -> None:
    stored = load_file(golden / "metrics" / "warping_error.safetensors")
    frames = stored[f"{case}.frames_THWC"]
    for pair, forward in enumerate(stored[f"{case}.flow_forward"]):
        moved = warp(frames[pair + 1], forward)
        assert (moved - stored[f"{case}.warped_next_frame"][pair]).abs().max() < 1e-5
        found = occlusion(forward, stored[f"{case}.flow_backward"][pair])
        assert torch.equal(found, stored[f"{case}.occlusion"][pair].bool())


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1), st.floats(0.1, 12))
def test_the_warp_is_the_plain_loop(seed: int, reach: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    values = torch.rand(5, 6, 2, generator=rng, dtype=torch.float64)
    flow = reach * torch.randn(5, 6, 2, generator=rng, dtype=torch.float64)
    moved = warp(values, flow)
    for y in range(5):
        for x in range(6):
            u, v = flow[y, x].tolist()
            assert torch.allclose(moved[y, x], sampled(values, x + u, y + v))


def test_no_flow_changes_nothing_and_whole_pixels_shift() -> None:
    values = torch.rand(6, 8, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(warp(values, torch.zeros(6, 8, 2)), values)
    moved = warp(values, torch.tensor([2.0, 1.0]).expand(6, 8, 2))
    assert torch.equal(moved[:-1, :-2], values[1:, 2:])
    assert torch.equal(moved[:, -1], values[[1, 2, 3, 4, 5, 5], -1])  # beyond lies the border


def occluded_by_loop(forward: Tensor, backward: Tensor) -> Tensor:
    height, width = forward.shape[:2]
    found = torch.zeros(height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            ahead = forward[y, x]
            back = sampled(backward, x + float(ahead[0]), y + float(ahead[1]))
            limit = 0.01 * (ahead.square().sum() + back.square().sum()) + 0.5
            change = 0.0
            if x + 1 < width:
                change += float((forward[y, x + 1] - ahead).square().sum())
            if y + 1 < height:
                change += float((forward[y + 1, x] - ahead).square().sum())
            lost = (ahead + back).square().sum() > limit
            found[y, x] = bool(lost) or change > 0.01 * float(ahead.square().sum()) + 0.002
    return found


@settings(max_examples=20)
@given(st.integers(0, 2**31 - 1))
def test_occlusion_is_the_plain_loop(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    forward = 2 + 0.03 * torch.randn(5, 6, 2, generator=rng, dtype=torch.float64)
    backward = -2 + 0.4 * torch.randn(5, 6, 2, generator=rng, dtype=torch.float64)
    assert torch.equal(occlusion(forward, backward), occluded_by_loop(forward, backward))


def test_what_moves_together_is_seen() -> None:
    ahead = torch.tensor([3.0, -1.0]).expand(8, 8, 2)
    assert not occlusion(ahead, -ahead).any()
    assert occlusion(ahead, ahead).all()  # there and back does not lead home


def test_a_motion_boundary_is_not_to_be_trusted() -> None:
    ahead = torch.zeros(8, 8, 2)
    ahead[:, 4:, 0] = 0.1  # too little to be lost, but a jump between columns 3 and 4
    found = occlusion(ahead, -ahead)
    assert found[:, 3].all()
    assert found.sum() == 8


def test_the_flow_of_a_clip_goes_both_ways() -> None:
    frames = torch.zeros(4, 3, 6, 7, dtype=torch.uint8)
    estimator = Given(1.5, 0.5)
    flow = clip_flow(frames, estimator)
    assert estimator.asked == 6
    assert torch.equal(flow.forward, torch.tensor([1.5, 0.5]).expand(3, 6, 7, 2))
    assert flow.occluded.shape == (3, 6, 7)
    assert not flow.occluded.any()
    assert flow.rests


@pytest.mark.parametrize(("level", "resting"), [(0.0, True), (2.0, True), (40.0, False)])
def test_noise_is_no_motion(level: float, resting: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 3, 64, 64, generator=rng) * level + 128
    assert rests(noise.clamp(0, 255).to(torch.uint8)) is resting


def test_a_slow_or_a_small_motion_is_one() -> None:
    ramp = torch.arange(64.0).expand(3, 64, 64) * 2
    slow = torch.stack([ramp + k for k in range(6)]).to(torch.uint8)  # a level per frame
    assert not rests(slow)
    small = torch.full((3, 3, 64, 64), 90, dtype=torch.uint8)
    small[1, :, 8:12, 20:24] = 120
    assert not rests(small)


def test_errors() -> None:
    with pytest.raises(InputError, match="at least 2 frames"):
        clip_flow(torch.zeros(1, 3, 6, 7, dtype=torch.uint8), Given(0, 0))
    with pytest.raises(InputError, match=r"give two of \(h w 2\)"):
        occlusion(torch.zeros(6, 7, 2), torch.zeros(6, 8, 2))
    for flow in (torch.zeros(6, 8, 2), torch.full((6, 7, 2), math.nan)):
        with pytest.raises(InputError, match="a finite"):
            warp(torch.zeros(6, 7, 3), flow)
