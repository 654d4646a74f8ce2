"""What the VAE lost of a picture: given back to its neighbours, exactly as written."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillmotion.diffusion.drift import DETAIL_FRAMES
from stillmotion.media.lost_detail import with_lost_detail

NUM_FRAMES = 5


def pixels(seed: int, *shape: int) -> np.ndarray:
    # Far from 0 and 255, so that nothing is clipped.
    return np.random.default_rng(seed).integers(90, 160, (*shape, 6, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("ends", [(0,), (0, NUM_FRAMES - 1)])
def test_it_is_the_plain_loop(ends: tuple[int, ...]) -> None:
    frames, given = pixels(0, NUM_FRAMES), {n: pixels(1 + n) for n in ends}
    before = frames.copy()
    restored = with_lost_detail(frames, given)
    for frame in range(NUM_FRAMES):
        if frame in given:
            np.testing.assert_array_equal(restored[frame], given[frame])
            continue
        for y, x, c in np.ndindex(6, 4, 3):
            value = float(frames[frame, y, x, c])
            for at, picture in given.items():
                lost = picture[..., c].astype(float) - frames[at, ..., c]
                share = math.exp(-(abs(frame - at) - 1) / DETAIL_FRAMES)
                near = 1 - abs(frame - at) / (NUM_FRAMES - 1) if len(ends) > 1 else 1
                value += near * lost.mean() + share * (lost[y, x] - lost.mean())
            assert abs(restored[frame, y, x, c] - value) <= 0.5 + 1e-9
    np.testing.assert_array_equal(frames, before)


def test_frames_of_a_picture_that_lost_nothing_stay() -> None:
    frames = pixels(0, NUM_FRAMES)
    np.testing.assert_array_equal(with_lost_detail(frames, {0: frames[0]}), frames)


def test_a_resting_clip_becomes_the_picture_next_to_it() -> None:
    """Every frame is the reconstruction: the neighbour has all back, and no jump is left."""
    picture = pixels(1)
    restored = with_lost_detail(np.repeat(pixels(0)[None], NUM_FRAMES, 0), {0: picture})
    np.testing.assert_array_equal(restored[1], picture)
    errors = np.abs(restored.astype(int) - picture).mean((1, 2, 3))
    assert (np.diff(errors[1:]) > 0).all()


def test_values_stay_pixels() -> None:
    frames = np.full((2, 2, 2, 3), 250, np.uint8)
    frames[0] = 100
    restored = with_lost_detail(frames, {0: np.full((2, 2, 3), 200, np.uint8)})
    assert restored[1].min() == 255


def test_a_single_frame_is_the_picture() -> None:
    picture = pixels(1)
    np.testing.assert_array_equal(with_lost_detail(pixels(0, 1), {0: picture})[0], picture)
