"""Motion smoothness: answers known by construction, and the world's exact flow."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from stillmotion.evaluation.metrics.flow_fields import ClipFlow
from stillmotion.evaluation.metrics.smoothness import motion_smoothness
from stillmotion.world.flow import optical_flow
from stillmotion.world.scene import Fixed, sample_scene


def steps(*velocities: tuple[float, float], size: int = 24) -> ClipFlow:
    """A whole picture that moves by these steps."""
    forward = torch.tensor(velocities)[:, None, None].expand(-1, size, size, 2)
    return ClipFlow(forward, torch.zeros(forward.shape[:-1], dtype=torch.bool))


def smoothness_of(*speeds: float) -> float:
    return motion_smoothness(steps(*((speed, 0.0) for speed in speeds)))


def test_known_answers() -> None:
    assert smoothness_of(2, 2, 2) == pytest.approx(1)
    assert smoothness_of(2, -2, 2) == pytest.approx(0)
    assert smoothness_of(2, 0, 2, 0) == pytest.approx(0)
    assert motion_smoothness(steps((1, 0), (0, 1))) == pytest.approx(1 - math.sqrt(2) / 2)


def test_a_change_of_speed_counts() -> None:
    assert smoothness_of(1, 3) == pytest.approx(1 - 2 / 4)
    assert smoothness_of(1, 1.5) > smoothness_of(1, 2) > smoothness_of(1, 3)


def test_a_resting_step_weighs_nothing_beside_others_at_rest() -> None:
    assert smoothness_of(0, 0, 0, 2, 2) == pytest.approx(1 - 2 / 6, abs=0.02)
    resting_ends = smoothness_of(2, 2, 2)
    assert resting_ends == pytest.approx(smoothness_of(2, 2))


@pytest.mark.parametrize("turn", [0.3, 1.0, 2.5])
def test_it_knows_no_direction(turn: float) -> None:
    turned = (math.cos(turn), math.sin(turn))
    along = motion_smoothness(steps((1, 0), (1.5, 0)))
    across = motion_smoothness(steps(turned, (1.5 * turned[0], 1.5 * turned[1])))
    assert across == pytest.approx(along, abs=1e-5)


def disc(x: float, size: int = 48) -> Tensor:
    column, row = torch.arange(size).float(), torch.arange(size).float()[:, None]
    return (column - x) ** 2 + (row - 24) ** 2 < 8**2


def test_a_thing_that_glides_over_resting_ground_is_smooth() -> None:
    """A comparison in place would see its front start and its back stop."""
    discs = torch.stack([disc(12 + 4 * k) for k in range(6)])
    forward = discs[:-1, ..., None] * torch.tensor([4.0, 0.0])
    covered = discs[1:] & ~discs[:-1]
    assert motion_smoothness(ClipFlow(forward, covered)) == pytest.approx(1)
    in_place = (forward[1:] - forward[:-1]).norm(dim=-1).sum()
    assert in_place > 0.3 * (forward[1:] + forward[:-1]).norm(dim=-1).sum()


def test_what_is_hidden_or_leaves_does_not_count() -> None:
    flow = steps((2, 0), (2, 0))
    forward = flow.forward.clone()
    forward[1, :, :8] = torch.tensor([-9.0, 0.0])  # where a jump is hidden
    hidden = flow.occluded.clone()
    assert motion_smoothness(ClipFlow(forward, hidden)) < 0.8
    hidden[1, :, :8] = True
    assert motion_smoothness(ClipFlow(forward, hidden)) == pytest.approx(1)
    leaving = flow.forward.clone()
    leaving[0, :, -3:], leaving[1, :, -1:] = 9.0, -9.0  # what leaves would read the border
    assert motion_smoothness(ClipFlow(leaving, flow.occluded)) == pytest.approx(1)


def test_a_clip_that_rests_has_none() -> None:
    assert math.isnan(smoothness_of(0, 0, 0))
    assert math.isnan(smoothness_of(0, 1e-4, 1e-4))
    moving = steps((2, 0), (2, 0))
    assert math.isnan(motion_smoothness(ClipFlow(moving.forward, moving.occluded, rests=True)))
    assert math.isnan(motion_smoothness(ClipFlow(moving.forward, ~moving.occluded)))


@pytest.mark.parametrize(("subject", "motion", "least", "most"), [
    ("car", "left", 0.98, 1.0),  # glides
    ("ball", "grow", 0.98, 1.0),
    ("ball", "bounce", 0.0, 0.8),  # turns back at the ground
    ("candle", "flicker", 0.0, 0.6),
])  # fmt: skip
def test_exact_flow_of_the_world(subject: str, motion: str, least: float, most: float) -> None:
    fixed = Fixed(subject=subject, motion=motion, pacing="steady")
    exact = optical_flow(sample_scene(random.Random(1), fixed), 16, 64)
    found = motion_smoothness(ClipFlow(exact.forward.movedim(1, -1), exact.occluded))
    assert least <= found <= most


def test_a_single_step_has_none_after_it() -> None:
    assert math.isnan(smoothness_of(1))
