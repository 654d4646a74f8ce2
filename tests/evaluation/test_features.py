"""What each feature asks for, and the numbers read off a clip."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.errors import InputError
from stillmotion.evaluation.features import (
    FEATURES,
    REFERENCE,
    Feature,
    chosen,
    clip_numbers,
    difference,
    other_scene,
    other_seed,
    reason_to_leave_out,
    recoloured,
    target_of,
)
from stillmotion.evaluation.samples import Sample, domain_of, make_sample
from stillmotion.runtime.memory import PRESETS

COUNT = 100
ONLY_OF_SOME = {"end_mse", "last_step", "return_step", "seamless_return_step", "seam"}


def sample_of(index: int) -> Sample:
    return make_sample("ablation", index, domain=domain_of(index))


def clip(*levels: int) -> NDArray[np.uint8]:
    """Evenly orange frames of the given brightness."""
    return np.stack([np.full((16, 16, 3), (k, k // 2, 0), np.uint8) for k in levels])


def measured(name: str, frames: NDArray[np.uint8], **changes: Any) -> dict[str, float]:
    return clip_numbers(FEATURES[name], frames, **{"first": frames[0], "last": None, **changes})


def test_the_reference_is_the_default_call() -> None:
    assert FEATURES[REFERENCE] == Feature(title=FEATURES[REFERENCE].title)
    assert FEATURES[REFERENCE].control == AnimateZeroSettings()


def test_no_two_features_are_the_same_call() -> None:
    calls = [repr({**vars(feature), "title": ""}) for feature in FEATURES.values()]
    assert len(set(calls)) == len(calls)
    titles = [feature.title for feature in FEATURES.values()]
    assert len(set(titles)) == len(titles)


def test_memory_plans_exist() -> None:
    assert {feature.memory for feature in FEATURES.values()} <= PRESETS.keys()


def test_choosing() -> None:
    assert chosen([]) == list(FEATURES)
    assert chosen(["loop", "paper", "loop"]) == ["paper", "loop"]  # in the order of the table
    with pytest.raises(InputError, match="no feature 'lop'; there are: animatediff, paper"):
        chosen(["loop", "lop"])


def test_what_a_model_cannot_show(tmp_path: Path) -> None:
    assert "without a ControlNet" in str(reason_to_leave_out(FEATURES["edges"], tmp_path))
    assert reason_to_leave_out(FEATURES["loop"], tmp_path) is None
    (tmp_path / "controlnet").mkdir()
    assert reason_to_leave_out(FEATURES["edges"], tmp_path) is None


def test_another_colour_changes_one_word() -> None:
    for index in range(COUNT):
        one, other = sample_of(index), recoloured(sample_of(index))
        words = zip(one.prompt.split(), other.prompt.split(), strict=True)
        changed = [pair for pair in words if pair[0] != pair[1]]
        assert changed == [(one.scene.colour, other.scene.colour)]
        assert one.scene.subject == other.scene.subject
        assert one.seed == other.seed


def test_another_scene_is_in_the_same_look_with_noise_of_its_own() -> None:
    for index in range(COUNT):
        one, other = sample_of(index), other_scene(sample_of(index))
        assert other.scene != one.scene
        assert other.scene.domain == one.scene.domain
        assert other.seed == other_seed(one) != one.seed
    assert len({other_seed(sample_of(index)) for index in range(COUNT)}) == COUNT


def test_what_the_last_frame_should_show() -> None:
    sample = sample_of(3)
    assert target_of(FEATURES["loop"], sample) is sample
    assert target_of(FEATURES["to-still"], sample) is sample
    assert target_of(FEATURES["to-scene"], sample) == other_scene(sample)
    assert target_of(FEATURES["to-text"], sample) == recoloured(sample)


def test_an_even_clip() -> None:
    numbers = measured(REFERENCE, clip(*range(60, 120, 10)))
    assert numbers["i1_mse"] == 0
    assert numbers["first_step"] == numbers["largest_step"] == 1
    assert numbers["mean_step"] == pytest.approx(5)
    assert numbers["saturation_drift"] == pytest.approx(100 * (105 / 60 - 1))
    assert {name for name, value in numbers.items() if math.isnan(value)} == ONLY_OF_SOME


def test_ends() -> None:
    frames = clip(60, 70, 80, 100)
    numbers = measured("to-still", frames, first=clip(50)[0], last=clip(104)[0])
    assert numbers["i1_mse"] == pytest.approx((100 + 25) / 3)
    assert numbers["end_mse"] == pytest.approx((16 + 4) / 3)
    assert numbers["last_step"] == 2
    assert measured("to-still", frames, last=frames[-1])["end_mse"] == 0


def test_colours_that_are_asked_to_change_do_not_drift() -> None:
    frames = clip(60, 70, 80)
    drifts = {name: measured(name, frames)["saturation_drift"] for name in ("to-text", "to-still")}
    assert math.isnan(drifts["to-text"])
    assert drifts["to-still"] > 0


def test_a_loop_comes_back() -> None:
    frames = clip(60, 80, 100, 80, 60)
    numbers = measured("loop", frames, last=frames[0])
    assert numbers["return_step"] == 0
    assert numbers["seamless_return_step"] == 1


def test_only_a_long_clip_has_seams() -> None:
    frames = clip(*range(40, 168, 2))
    assert measured("long", frames)["seam"] == 1
    assert math.isnan(measured(REFERENCE, frames)["seam"])


def test_the_difference_leaves_frame_1_out() -> None:
    one, other = clip(60, 70, 80), clip(0, 70, 80)
    assert difference(one, other) == 0
    assert difference(clip(60, 70), clip(60, 80)) == pytest.approx((100 + 25) / 3)
