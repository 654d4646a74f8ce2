"""Shots joined to a film: against the plainest loops, and numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.errors import InputError
from stillmotion.media.transitions import (
    CUT,
    Span,
    Transition,
    check_transitions,
    join_shots,
    spans,
)

Frames = NDArray[np.uint8]


def shots(*lengths: int) -> list[Frames]:
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (length, 3, 5, 3), dtype=np.uint8) for length in lengths]


def rounded(value: Fraction) -> int:
    return int(value + Fraction(1, 2))  # halves up


def naive(clips: list[Frames], transitions: list[Transition]) -> Frames:
    """The film value by value, each of an exact fraction."""
    film: list[list[Fraction]] = []
    for clip, transition in zip(clips, transitions, strict=True):
        new = [[Fraction(int(value)) for value in frame.ravel()] for frame in clip]
        n = transition.num_frames
        if transition.kind == "crossfade":
            for i in range(n):
                share = Fraction(i + 1, n + 1)
                old = film[len(film) - n + i]
                new[i] = [(1 - share) * a + share * b for a, b in zip(old, new[i], strict=True)]
            del film[len(film) - n :]
        if transition.kind == "fade":
            for i in range(n):
                if film:
                    at = len(film) - n + i
                    film[at] = [value * Fraction(n - 1 - i, n) for value in film[at]]
                new[i] = [value * Fraction(i, n) for value in new[i]]
        film += new
    values = [[rounded(value) for value in frame] for frame in film]
    return np.array(values, np.uint8).reshape(-1, *clips[0].shape[1:])


@pytest.mark.parametrize(
    "transitions",
    [
        [CUT, CUT, CUT],
        [CUT, Transition("crossfade", 1), Transition("crossfade", 3)],
        [CUT, Transition("crossfade", 2), Transition("fade", 2)],
        [Transition("fade", 3), Transition("fade", 1), CUT],
        [CUT, Transition("fade", 4), Transition("crossfade", 1)],
    ],
)
def test_the_film_is_as_computed_by_hand(transitions: list[Transition]) -> None:
    clips = shots(6, 5, 4)
    film = join_shots(iter(clips), [6, 5, 4], transitions)
    np.testing.assert_array_equal(film, naive(clips, transitions))
    assert len(film) == spans([6, 5, 4], transitions)[-1].stop


def test_a_crossfade_in_numbers() -> None:
    black, white = np.zeros((3, 1, 1, 3), np.uint8), np.full((3, 1, 1, 3), 200, np.uint8)
    film = join_shots([black, white], [3, 3], [CUT, Transition("crossfade", 2)])
    assert film[:, 0, 0, 0].tolist() == [0, 67, 133, 200]


def test_a_fade_reaches_black() -> None:
    light = np.full((4, 1, 1, 3), 100, np.uint8)
    film = join_shots([light, light], [4, 4], [CUT, Transition("fade", 2)])
    assert film[:, 0, 0, 0].tolist() == [100, 100, 50, 0, 0, 50, 100, 100]


def test_where_shots_lie() -> None:
    found = spans([8, 6, 5], [CUT, Transition("crossfade", 3), Transition("fade", 2)])
    assert found == [Span(0, 8), Span(5, 11), Span(11, 16)]


@pytest.mark.parametrize(
    ("lengths", "transitions", "said"),
    [
        ([4, 4], [Transition("crossfade", 2), CUT], "a: transition is a crossfade, but there is"),
        ([4, 9], [CUT, Transition("crossfade", 4)], "a: a crossfade of 4 frames leaves nothing"),
        ([9, 4], [CUT, Transition("crossfade", 5)], "b: a crossfade of 5 .* at most 3"),
        ([9, 5, 9], [CUT, Transition("crossfade", 3), Transition("fade", 3)], "b: its transitions"),
        ([2], [Transition("fade", 3)], "a: its transitions take 3 .* it has 2"),
    ],
)
def test_shots_too_short(lengths: list[int], transitions: list[Transition], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_transitions(lengths, transitions, list("abc")[: len(lengths)])


def test_transitions_that_just_fit() -> None:
    check_transitions([4, 6], [CUT, Transition("crossfade", 3)], ["a", "b"])
    check_transitions([3, 4], [Transition("fade", 1), Transition("fade", 2)], ["a", "b"])


@pytest.mark.parametrize("wrong", [(5, 3, 5, 3), (4, 3, 6, 3)])
def test_shots_that_do_not_fit(wrong: tuple[int, ...]) -> None:
    first, second = np.zeros((2, 3, 5, 3), np.uint8), np.zeros(wrong, np.uint8)
    with pytest.raises(InputError, match="does not fit into a film"):
        join_shots([first, second], [2, 4], [CUT, CUT])


def test_no_shots() -> None:
    with pytest.raises(InputError, match="no shots"):
        join_shots([], [], [])
