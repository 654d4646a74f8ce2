"""Deformations take points away and back, which makes the flow exact."""

from __future__ import annotations

import pytest
import torch

from stillmotion.world.deform import Look
from stillmotion.world.subjects import parts
from stillmotion.world.vocabulary import SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
def test_inverse_and_forward_are_inverse(subject: str) -> None:
    generator = torch.Generator().manual_seed(0)
    u, v = 3 * torch.rand(2, 5, 20, 20, generator=generator, dtype=torch.float64) - 1.5
    for part in parts(subject):
        low = -1.0 if isinstance(part.deform, Look) else 0.0
        phase = torch.linspace(low, 1, 5, dtype=torch.float64).view(-1, 1, 1)
        away = part.deform.forward(u, v, phase)
        for there, back in (
            (away, part.deform.inverse(*away, phase)),
            ((u, v), part.deform.forward(*part.deform.inverse(u, v, phase), phase)),
        ):
            assert there is away or there == (u, v)
            assert max((back[0] - u).abs().max(), (back[1] - v).abs().max()) < 1e-12


def test_deformed_subjects_do_move() -> None:
    moving = {
        subject
        for subject in SUBJECTS
        for part in parts(subject)
        if not torch.equal(
            torch.stack(part.deform.forward(*_point(0.2, 0.3))),
            torch.stack(part.deform.forward(*_point(0.2, 0.6))),
        )
    }
    assert moving == {"candle", "waves", "flag", "windmill", "cat", "fish", "bird"}


def _point(place: float, phase: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    point = torch.full((1, 1, 1), place, dtype=torch.float64)
    return point, -point, torch.full((1, 1, 1), phase, dtype=torch.float64)
