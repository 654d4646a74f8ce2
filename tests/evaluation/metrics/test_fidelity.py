"""Fidelity to given pictures: known answers, and 8-bit arithmetic itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.fidelity import end_mse, i1_mse, i1_mse_uint8wrap, mse, psnr


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((5, 7, 3), level, np.uint8)


def test_known_answers() -> None:
    assert mse(grey(10), grey(10)) == 0
    assert mse(grey(10), grey(13)) == mse(grey(13), grey(10)) == 9
    assert mse(grey(0), grey(255)) == 65025
    one_channel = grey(10)
    one_channel[..., 1] = 16
    assert mse(one_channel, grey(10)) == 12


def test_psnr_in_decibels() -> None:
    assert psnr(grey(0), grey(255)) == 0
    assert psnr(grey(7), grey(8)) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(grey(7), grey(7)) == math.inf
    # The papers' worst I1-MSE, were it on the scale 0 to 255.
    assert 10 * math.log10(255**2 / 104.8) == pytest.approx(27.9, abs=0.05)


def test_the_first_and_the_last_frame_count() -> None:
    frames = np.stack([grey(10), grey(100), grey(30)])
    assert i1_mse(frames, grey(12)) == 4
    assert end_mse(frames, grey(25)) == 25


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_wrapped_error_is_what_uint8_arrays_give(seed: int) -> None:
    frames, still = noise(seed, 2, 6, 4, 3), noise(seed + 1, 6, 4, 3)
    assert i1_mse_uint8wrap(frames, still) == pytest.approx(((frames[0] - still) ** 2).mean())


def test_where_the_wrapped_error_saturates() -> None:
    levels = np.arange(256)
    assert ((levels[:, None] - levels) ** 2 % 256).mean() == 105.5
    unrelated = i1_mse_uint8wrap(noise(0, 1, 200, 200, 3), noise(1, 200, 200, 3))
    assert unrelated == pytest.approx(105.5, abs=2)
    assert i1_mse(noise(0, 1, 200, 200, 3), noise(1, 200, 200, 3)) > 10_000
    assert i1_mse_uint8wrap(grey(32)[None], grey(16)) == 0  # and it is no distance


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 15))
def test_small_errors_do_not_wrap(seed: int, step: int) -> None:
    still = noise(seed, 4, 4, 3) // 2
    frames = (still + np.uint8(step))[None]
    assert i1_mse_uint8wrap(frames, still) == i1_mse(frames, still) == step**2


@pytest.mark.parametrize(
    "other",
    [np.zeros((5, 8, 3), np.uint8), np.zeros((5, 7, 3)), np.zeros((5, 7, 4), np.uint8)],
)
def test_what_cannot_be_compared(other: NDArray[np.uint8]) -> None:
    for measure in (mse, psnr):
        with pytest.raises(InputError, match="give two of uint8"):
            measure(grey(0), other)
    for of_clip in (i1_mse, i1_mse_uint8wrap, end_mse):
        with pytest.raises(InputError, match="give two of uint8"):
            of_clip(grey(0)[None], other)
