"""Frames on their way into a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.evaluation.extractors.networks import noise

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors.pixels import (
    centred_unit,
    check_frames,
    in_batches,
    normalised,
    resized,
)


def test_a_frame_is_resized_as_pil_does() -> None:
    frames = noise(2, 3, 50, 70)
    small = resized(frames, 24)
    for frame, made in zip(frames, small, strict=True):
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
        expected = np.asarray(picture.resize((24, 24), Image.Resampling.BICUBIC))
        assert np.array_equal(made.permute(1, 2, 0).numpy(), expected)
    assert small.dtype == torch.uint8


def test_a_shrunken_frame_is_antialiased() -> None:
    """Stripes of one pixel become grey; without antialiasing they would stay stripes."""
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    inner = resized(stripes, 16)[..., 2:-2]
    assert int(inner.max()) - int(inner.min()) < 20


def test_a_frame_of_that_size_stays() -> None:
    frames = noise(1, 3, 24, 24)
    assert resized(frames, 24) is frames


def test_pixels_are_normalised_per_channel() -> None:
    frame = torch.tensor([0, 51, 255], dtype=torch.uint8)[None, :, None, None]
    made = normalised(frame, (0.5, 0.1, 0.0), (0.5, 0.1, 2.0))
    assert made.flatten().tolist() == pytest.approx([-1, 1, 0.5])


def test_vectors_are_centred_and_of_length_1() -> None:
    vectors = torch.tensor([[1.0, 2.0, 6.0], [-4.0, 0.0, 1.0]])
    made = centred_unit(vectors)
    assert made.sum(1).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert made.norm(dim=1).tolist() == pytest.approx([1, 1])
    expected = torch.tensor([-2.0, -1.0, 3.0]) / 14**0.5
    assert torch.allclose(made[0], expected)


def test_batches_change_nothing() -> None:
    items = torch.arange(7.0)[:, None]
    assert torch.equal(in_batches(lambda x: x * 2, items, 3), items * 2)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.zeros(0, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_what_is_no_frame_is_refused(frames: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"give uint8 of the shape \(n 3 h w\), not empty"):
        check_frames(frames)
