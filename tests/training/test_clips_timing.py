"""Stride, start and presentation time: which frames a sample shows."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.coded_clips import SETTINGS, generator

from stillmotion.errors import InputError
from stillmotion.training.clips.samples import ClipSettings
from stillmotion.training.clips.timing import conditioning_fps, excerpt, timeline


def even(num_frames: int, fps: Fraction, tick: Fraction | None = None) -> list[Fraction]:
    """Times of an even rate, rounded to ticks as a container does."""
    times = [number / fps for number in range(num_frames)]
    return times if tick is None else [round(time / tick) * tick for time in times]


@given(
    num_frames=st.integers(1, 60),
    fps=st.sampled_from([Fraction(30000, 1001), Fraction(8), Fraction(25), Fraction(60)]),
    tick=st.sampled_from([None, Fraction(1, 1000), Fraction(1, 90000)]),
)
def test_an_even_clip_is_read_frame_by_frame_however_times_are_rounded(
    num_frames: int, fps: Fraction, tick: Fraction | None
) -> None:
    line = timeline(even(num_frames, fps, tick), declared_fps=fps)
    assert line.fps == fps
    assert line.num_steps == num_frames
    assert [line.frame(step) for step in range(num_frames)] == list(range(num_frames))


def test_a_frame_that_stays_longer_counts_more_often() -> None:
    times = [Fraction(n, 10) for n in (0, 1, 5, 6)]
    line = timeline(times, fps=10.0)
    # The last one stays as long as frames do on average: 0.2 s.
    assert line.seconds == Fraction(8, 10)
    assert [line.frame(step) for step in range(line.num_steps)] == [0, 1, 1, 1, 1, 2, 3, 3]


def test_the_rate_is_what_the_times_say_where_the_file_says_otherwise() -> None:
    times = [Fraction(n, 10) for n in (0, 1, 5, 6)]
    assert timeline(times, declared_fps=Fraction(30)).fps == Fraction(3) / Fraction(6, 10)
    assert timeline(even(31, Fraction(30), Fraction(1, 1000)), declared_fps=None).fps == 30
    assert timeline([Fraction(0)], declared_fps=None).fps == 8


def test_a_given_rate_reads_the_clip_by_time() -> None:
    line = timeline(even(60, Fraction(60)), fps=20.0)
    assert line.num_steps == 20
    # The middle of a twentieth of a second is where the second of its three frames is on display.
    assert [line.frame(step) for step in range(4)] == [1, 4, 7, 10]


def test_a_part_begins_and_ends_at_the_moments_given() -> None:
    times = [5 + time for time in even(40, Fraction(10))]  # the first frame is at 5 s
    line = timeline(times, declared_fps=Fraction(10), start=0.1, end=0.7)
    assert [line.frame(step) for step in range(line.num_steps)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match=r"between 9 s and its end; the last one begins at 3\.900"):
        timeline(times, start=9.0)


def test_strides_are_uniform_and_starts_reach_both_ends() -> None:
    num_steps = 6 * 15 + 1 + 2
    drawn = [excerpt(num_steps, SETTINGS, generator(seed)) for seed in range(1200)]
    counts = Counter(each.stride for each in drawn)
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    assert all(140 < count < 260 for count in counts.values())  # 200 expected, σ = 13
    for stride in counts:
        starts = {each.start for each in drawn if each.stride == stride}
        last = num_steps - 1 - 15 * stride
        assert min(starts) >= 0
        assert max(starts) <= last
        if stride == 6:
            assert starts == {0, 1, 2}


@pytest.mark.parametrize(("num_steps", "stride"), [(16, 1), (31, 1), (32, 2), (90, 5), (91, 6)])
def test_a_stride_is_shortened_to_fit_the_clip(num_steps: int, stride: int) -> None:
    fixed = ClipSettings(height=8, width=8, min_stride=6, max_stride=6)
    drawn = excerpt(num_steps, fixed, generator())
    assert drawn.stride == stride
    assert 0 <= drawn.start <= num_steps - 1 - 15 * stride


def test_a_clip_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="15 frames and a sample takes 16"):
        excerpt(15, SETTINGS, generator())


@pytest.mark.parametrize(
    ("fps", "stride", "expected"),
    [
        (Fraction(30), 4, 7),
        (Fraction(30000, 1001), 1, 29),
        (Fraction(24), 3, 8),
        (Fraction(4), 6, 1),
    ],
)
def test_the_pace_is_rounded_down_but_never_to_nothing(
    fps: Fraction, stride: int, expected: int
) -> None:
    assert conditioning_fps(fps, stride) == expected


@pytest.mark.parametrize(
    "wrong",
    [{"height": 0}, {"num_frames": 0}, {"min_stride": 0}, {"min_stride": 3, "max_stride": 2}],
)
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        ClipSettings(**{"height": 8, "width": 8, **wrong})
