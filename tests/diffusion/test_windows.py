"""Overlapping windows: a weighted mean of what each says, as the plainest loop has it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stillmotion.diffusion.windows import blended, window_starts, window_weights


def said(frames: slice) -> Tensor:
    """Depends on the frame and on its place in the window: (2 l 3)."""
    frame = torch.arange(frames.start, frames.stop, dtype=torch.float64)
    slot = torch.arange(len(frame), dtype=torch.float64)
    return (10 * frame + slot)[None, :, None].expand(2, -1, 3)


@pytest.mark.parametrize(("num_frames", "length"), [(5, 2), (9, 4), (33, 16)])
def test_it_is_the_plain_loop(num_frames: int, length: int) -> None:
    mixed = blended(num_frames, length, -2, said)
    assert mixed.shape == (2, num_frames, 3)
    for frame in range(num_frames):
        total, weights = 0.0, 0.0
        for start in window_starts(num_frames, length):
            slot = frame - start
            if 0 <= slot < length:
                weight = min(slot + 1, length - slot)
                total += weight * (10 * frame + slot)
                weights += weight
        assert abs(float(mixed[0, frame, 0]) - total / weights) < 1e-12


@pytest.mark.parametrize("num_frames", [1, 3, 4])
def test_a_short_clip_is_asked_once(num_frames: int) -> None:
    assert torch.equal(blended(num_frames, 4, -2, said), said(slice(0, num_frames)))


def test_weights_fall_off_to_both_sides() -> None:
    assert window_weights(5, torch.zeros(1)).tolist() == [1, 2, 3, 2, 1]
