"""Settings refuse what cannot be used, and name the rows of the paper's ablation."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict, replace
from itertools import pairwise

import pytest

from stillmotion.animatezero.settings import (
    CALMEST_CORRELATION,
    FIG6_ROWS,
    LIVELIEST_SPEED,
    PAPER,
    TRAINED_FRAMES,
    AnimateZeroSettings,
    TimeTravel,
)
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kv_source": "t2i"}, "'video', 'still'"),
        ({"window": "on"}, "'off', 'uncorrected', 'corrected'"),
        ({"query_position": "first"}, "'last', 'own'"),
        ({"frame_norm": "none"}, "'per_frame', 'across_frames'"),
        ({"insert_latents": "yes"}, "False, True"),
        ({"window_blocks": ("down", "middle")}, "'middle'"),
        ({"window_blocks": ("down", "down")}, "different names"),
        ({"window_blocks": "down"}, "tuple"),
        ({"window_length": 0}, "window_length is 0"),
        ({"window_length": 4.0}, "whole number from 1 up"),
        ({"motion_strength": -0.1}, "from 0 .calm. to 2"),
        ({"motion_strength": 2.1}, "motion_strength is 2.1"),
        ({"motion_strength": float("nan")}, "motion_strength is nan"),
        ({"drift_correction": None}, "drift_correction is None"),
        ({"even_pace": 2}, "even_pace is 2"),
    ],
)
def test_unknown_control_is_refused(change: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        AnimateZeroSettings(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"num_inference_steps": 0},
        {"num_inference_steps": 2.5},
        {"num_inference_steps": True},
        {"guidance_scale": float("nan")},
        {"guidance_scale": float("inf")},
        {"guidance_scale": -1.0},
        {"height": 0},
        {"width": -8},
        {"clip_skip": -1},
        {"clip_skip": 1.0},
    ],
)
def test_impossible_sampling_is_refused(change: dict) -> None:
    (name, value), *_ = change.items()
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        SamplingSettings(**change)


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        AnimateZeroSettings().window = "off"  # type: ignore[misc]


def test_rows_of_figure_6_add_one_part_each() -> None:
    rows = [asdict(FIG6_ROWS[row]) for row in "abcde"]
    changes = [
        {name for name in before if before[name] != after[name]} for before, after in pairwise(rows)
    ]
    assert changes == [{"insert_latents"}, {"share_keys_values"}, {"window"}, {"window"}]
    assert FIG6_ROWS["e"] == PAPER
    assert [row["window"] for row in rows] == ["off", "off", "off", "uncorrected", "corrected"]


def test_guidance_of_one_is_none() -> None:
    assert not SamplingSettings(guidance_scale=1.0).uses_guidance
    assert SamplingSettings(guidance_scale=1.1).uses_guidance


def test_what_needs_the_still_s_latents() -> None:
    assert not FIG6_ROWS["a"].needs_trajectory
    assert FIG6_ROWS["b"].needs_trajectory
    lockstep = AnimateZeroSettings(insert_latents=False, kv_source="still")
    assert lockstep.needs_trajectory
    assert lockstep.needs_reference_row
    assert not AnimateZeroSettings(share_keys_values=False, kv_source="still").needs_reference_row


def test_the_defaults_are_the_paper_s_and_drift_correction() -> None:
    assert AnimateZeroSettings() == replace(PAPER, drift_correction=True)
    assert AnimateZeroSettings(drift_correction=False) == PAPER
    assert (PAPER.speed, PAPER.noise_correlation, PAPER.time_travel) == (1, 0, None)


@pytest.mark.parametrize(
    ("strength", "speed", "correlation"),
    [
        (0.0, 1.0, CALMEST_CORRELATION),
        (0.5, 1.0, CALMEST_CORRELATION / 2),
        (1.0, 1.0, 0.0),
        (1.5, LIVELIEST_SPEED**0.5, 0.0),
        (2.0, LIVELIEST_SPEED, 0.0),
    ],
)
def test_strength_is_noise_below_1_and_speed_above(
    strength: float, speed: float, correlation: float
) -> None:
    settings = AnimateZeroSettings(motion_strength=strength)
    assert settings.speed == pytest.approx(speed)
    assert settings.noise_correlation == pytest.approx(correlation)


def test_a_window_is_the_clip_s_length_up_to_its_own() -> None:
    assert [AnimateZeroSettings().window_of(f) for f in (1, 5, 16, 40)] == [1, 5, 16, 16]
    assert AnimateZeroSettings().window_of(99) == TRAINED_FRAMES
    short = AnimateZeroSettings(window_length=6)
    assert [short.window_of(f) for f in (1, 6, 7)] == [1, 6, 6]


@pytest.mark.parametrize("strength", [1.2, 1.5, 2.0])
@pytest.mark.parametrize("length", [None, 6, 9, 24])
def test_a_lively_window_reaches_no_farther_in_time(strength: float, length: int | None) -> None:
    settings = AnimateZeroSettings(motion_strength=strength, window_length=length)
    slots = settings.window_of(99)
    assert 1 < slots < (length or TRAINED_FRAMES)
    assert settings.speed * (slots - 1) <= (length or TRAINED_FRAMES) - 1


def test_denoisings_follow_time_travel() -> None:
    assert AnimateZeroSettings().denoisings(4) == [1, 1, 1, 1]
    travel = AnimateZeroSettings(time_travel=TimeTravel(repeats=3, start=1, stop=3))
    assert travel.denoisings(4) == [1, 3, 3, 1]
