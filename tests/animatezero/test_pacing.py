"""Frames chosen for an even pace."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stillmotion.animatezero.guide import ControlGuide
from stillmotion.animatezero.pacing import dense_count, even_frames
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.errors import InputError

EVEN = AnimateZeroSettings(even_pace=True, window_length=4)


def grey(levels: list[int]) -> NDArray[np.uint8]:
    """A clip of plain frames: steps are differences of their levels."""
    return np.array(levels, np.uint8)[:, None, None, None].repeat(3, axis=3)


def unevenness(frames: NDArray[np.uint8]) -> float:
    steps = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    return float(steps.max() / steps.mean())


def test_of_a_clip_that_lingers_and_hurries_an_even_one_is_chosen() -> None:
    frames = grey([0, 0, 1, 10, 12, 13, 20, 21, 25, 30, 40, 40, 40])
    chosen = even_frames(frames, 5)
    assert frames[chosen, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]


@given(levels=st.lists(st.integers(0, 255), min_size=2, max_size=15), data=st.data())
def test_ends_stay_and_order_is_kept(levels: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(2, len(levels)))
    chosen = even_frames(grey(levels), count)
    assert len(chosen) == count
    assert chosen[0] == 0
    assert chosen[-1] == len(levels) - 1
    assert chosen == sorted(set(chosen))


def test_no_choice_is_more_even() -> None:
    """Against all choices there are."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        frames = grey(np.cumsum(generator.integers(1, 25, dense_count(5))).tolist())
        between = itertools.combinations(range(1, len(frames) - 1), 3)
        best = min(unevenness(frames[[0, *inner, len(frames) - 1]]) for inner in between)
        assert unevenness(frames[even_frames(frames, 5)]) == pytest.approx(best)


def test_large_frames_are_chosen_as_small_ones() -> None:
    small = grey([0, 3, 10, 20, 22, 30])
    large = small.repeat(300, axis=1).repeat(260, axis=2)
    assert even_frames(large, 4) == even_frames(small, 4) == [0, 2, 3, 5]


def test_a_clip_that_does_not_change() -> None:
    assert even_frames(grey([7] * 7), 4)[::3] == [0, 6]


def test_the_clip_has_its_ends_and_length(pipe, still, sampling) -> None:
    [last] = pipe.draw("a blue ball", seeds=[5], sampling=sampling)
    clip = pipe.animate(still, seed=1, num_frames=4, control=EVEN, last_frame=last)
    assert clip.frames.shape[1] == clip.latents.shape[2] == 4
    assert np.array_equal(clip.frames[0, 0], still.image)
    assert np.array_equal(clip.frames[0, -1], last.image)
    assert (clip.latents[0, :, -1] == last.latents[-1]).all()


def test_without_a_last_frame_nothing_changes(pipe, still) -> None:
    plain = AnimateZeroSettings(window_length=4)
    ours, other = (pipe.animate(still, seed=1, num_frames=4, control=c) for c in (EVEN, plain))
    assert np.array_equal(ours.frames, other.frames)


def test_progress_is_that_of_one_clip(pipe, still) -> None:
    seen = []
    pipe.animate(
        still, seed=1, num_frames=3, control=EVEN, last_frame=still,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_guide_is_refused(pipe, still) -> None:
    guide = ControlGuide(net=None, maps=np.zeros((3, *still.image.shape), np.uint8))
    with pytest.raises(InputError, match="even_pace"):
        pipe.animate(still, seed=1, num_frames=3, control=EVEN, last_frame=still, guide=guide)
