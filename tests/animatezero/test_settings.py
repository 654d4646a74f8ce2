"""Settings refuse what cannot be used, and name the rows of the paper's ablation."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, asdict
from itertools import pairwise

import pytest

from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, SamplingSettings
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
    assert FIG6_ROWS["e"] == AnimateZeroSettings()
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
