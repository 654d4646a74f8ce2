"""The plan of an approximate run: when guidance acts, when deep features are used again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillmotion.diffusion.speed import (
    EXACT,
    EXACT_CALL,
    SPEEDS,
    Call,
    SpeedSettings,
    call_plan,
    guides,
    speed_of,
)
from stillmotion.errors import InputError


def said(calls: list[Call]) -> str:
    """One letter per call: G guided, c conditional alone; in brackets if it reuses."""
    letters = ["G" if call.guided else "c" for call in calls]
    pairs = zip(letters, calls, strict=True)
    return "".join(f"({letter})" if call.reuses else letter for letter, call in pairs)


@pytest.mark.parametrize(
    ("speed", "denoisings", "guided", "expected"),
    [
        ({}, [1] * 4, True, "GGGG"),
        ({}, [1] * 4, False, "cccc"),
        ({"guidance_interval": (0.25, 0.75)}, [1] * 4, True, "cGGc"),
        ({"guidance_interval": (0.0, 0.0)}, [1] * 3, True, "ccc"),
        ({"reuse_every": 3}, [1] * 7, True, "G(G)(G)G(G)(G)G"),
        # What was computed for both halves serves the conditional one, never the other way round.
        ({"reuse_every": 3, "guidance_interval": (0.0, 0.5)}, [1] * 4, True, "G(G)(c)c"),
        ({"reuse_every": 4, "guidance_interval": (0.5, 1.0)}, [1] * 6, True, "c(c)(c)G(G)(G)"),
        # Time travel: every use of the network counts, guidance goes by the step.
        ({"reuse_every": 2, "guidance_interval": (0.0, 0.5)}, [1, 3], True, "G(c)c(c)"),
        ({"reuse_every": 2}, [1, 2, 1], True, "G(G)G(G)"),
    ],
)
def test_plans(speed: dict[str, Any], denoisings: list[int], guided: bool, expected: str) -> None:
    assert said(call_plan(SpeedSettings(**speed), denoisings, guided=guided)) == expected


@given(
    st.integers(1, 6),
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.booleans(),
)
def test_a_reusing_call_needs_nothing_that_is_not_there(
    every: int, denoisings: list[int], interval: tuple[float, float], guided: bool
) -> None:
    speed = SpeedSettings(reuse_every=every, guidance_interval=tuple(sorted(interval)))
    calls = call_plan(speed, denoisings, guided=guided)
    assert len(calls) == sum(denoisings)
    age, known = every, False
    for call in calls:
        if call.reuses:
            assert age < every
            assert known or not call.guided
            age += 1
        else:
            age, known = 1, call.guided


def test_the_interval_is_half_open() -> None:
    assert [guides((0.2, 0.6), index, 5) for index in range(5)] == [False, True, True, False, False]


def test_exact_takes_no_shortcut() -> None:
    assert EXACT.is_exact
    assert set(call_plan(EXACT, [1, 5, 1])) == {EXACT_CALL}
    assert [name for name, speed in SPEEDS.items() if speed.is_exact] == ["exact"]


def test_turbo_uses_the_network_less_than_fast() -> None:
    def cost(name: str) -> float:
        # A reusing call costs about a fifth of a full one, a guided one twice the other.
        calls = call_plan(speed_of(name), [1] * 25)
        return sum((1 + call.guided) * (1 / 5 if call.reuses else 1) for call in calls)

    assert cost("turbo") < cost("fast") < cost("exact") == 50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance_interval": (0.5, 0.2)}, "guidance_interval is"),
        ({"guidance_interval": (0.0, 1.5)}, "guidance_interval is"),
        ({"guidance_interval": (float("nan"), 1.0)}, "guidance_interval is"),
        ({"reuse_every": 0}, "reuse_every is 0"),
        ({"kept_skips": 0}, "kept_skips is 0"),
        ({"reuse_every": True}, "reuse_every is True"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpeedSettings(**settings)


def test_speeds_by_name_or_as_they_are() -> None:
    assert speed_of("fast") is SPEEDS["fast"]
    own = SpeedSettings(reuse_every=2)
    assert speed_of(own) is own
    with pytest.raises(InputError, match=r"'warp'; it can be 'exact', 'fast', 'turbo'"):
        speed_of("warp")
