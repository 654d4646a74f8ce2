"""One sample of each task with the miniature's own DynamiCrafter models, at two steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stillmotion.dynamicrafter.loading import LoadedDynamiCrafter
from stillmotion.errors import InputError
from stillmotion.evaluation.run import Plan
from stillmotion.evaluation.video_measure import (
    CHANGES,
    WITHHELD,
    VideoMeasurer,
    looking_folder,
    picture_sample,
    real_clips,
)
from stillmotion.evaluation.video_settings import TITLES, chosen, measure_settings, table
from stillmotion.miniature.clip import clip_image_features
from stillmotion.miniature.judge import ATTRIBUTES
from stillmotion.models.registry import (
    MINIATURE_DYNAMICRAFTER,
    MINIATURE_INTERPOLATION,
    resolve_model,
)
from stillmotion.runtime.seeds import generator


def quick(name: str) -> VideoMeasurer:
    """A measurer whose clips take two steps and have four frames."""
    measurer = VideoMeasurer(name, "cpu")
    loaded = measurer.model
    says = loaded.folder.description.model_copy(update={"num_inference_steps": 2, "num_frames": 4})
    measurer.model = LoadedDynamiCrafter(
        loaded.reference, replace(loaded.folder, description=says), loaded.pipeline
    )
    return measurer


@pytest.fixture(scope="module")
def pictures() -> VideoMeasurer:
    return quick(MINIATURE_DYNAMICRAFTER)


def test_a_clip_of_a_picture_is_judged(pictures: VideoMeasurer) -> None:
    row = pictures.picture("nothing", 3)
    assert row == pictures.picture("nothing", 3)
    assert all(len(row[name]) == 4 for name in ATTRIBUTES)
    assert -1 <= row["conformity"] <= 1
    assert len(row["features"]) == 192
    assert row["first_mse"] > 0


def test_a_model_without_a_judge_is_looked_at_by_the_packages(
    pictures: VideoMeasurer, tmp_path: Path
) -> None:
    packaged = resolve_model(MINIATURE_DYNAMICRAFTER).path
    assert looking_folder(tmp_path) == packaged
    (tmp_path / "judge.safetensors").write_bytes(b"its own")
    assert looking_folder(tmp_path) == tmp_path
    assert looking_folder(packaged) == packaged


def test_larger_frames_are_averaged_for_clip(pictures: VideoMeasurer) -> None:
    small = torch.randint(0, 256, (2, 3, 64, 64), generator=generator(0), dtype=torch.uint8)
    large = small.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    seen = [clip_image_features(pictures.clip, frames) for frames in (small, large)]
    assert torch.allclose(*seen, atol=1e-5)


def test_the_exact_first_frame_is_exact(pictures: VideoMeasurer) -> None:
    assert pictures.picture("exact-first-frame", 3)["first_mse"] == 0


@pytest.mark.parametrize("name", [*WITHHELD, "stride-1"])
def test_changes_count(pictures: VideoMeasurer, name: str) -> None:
    assert pictures.picture(name, 3)["features"] != pictures.picture("nothing", 3)["features"]


def test_a_clip_between_two_pictures_is_judged() -> None:
    row = quick(MINIATURE_INTERPOLATION).ends(1)
    assert -1 <= row["end"] <= 1
    assert all(len(row[name]) == 4 for name in ATTRIBUTES)


def test_real_clips_are_those_that_pictures_begin(pictures: VideoMeasurer) -> None:
    """The judge reads their motion; and their first frame is the picture that is given."""
    found = real_clips(pictures.judge, 64, 4, 2)
    assert found.shape == (2, 192)
    sample = picture_sample(0)
    assert sample.scene.domain == "plain"
    assert np.array_equal(pictures._rendered(sample, 0.0), pictures._rendered(sample, 0.0))
    assert not np.array_equal(pictures._rendered(sample, 0.0), pictures._rendered(sample, 1.0))


def test_settings_are_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"first_mse": 4.0, "first_step": float("nan"), "mean_step": 2.0, "conformity": 0.5,
            "motion": True, **{name: [True, False] for name in ATTRIBUTES}}  # fmt: skip
    monkeypatch.setattr(
        "stillmotion.evaluation.video_settings.measure", lambda plan, task, n, tick: [made] * n
    )
    plan = Plan(reference="some", model_folder=tmp_path, folder=tmp_path)
    entries = measure_settings(plan, chosen(["stride-1"]), 3)
    assert entries[0]["motion"] == 100
    assert entries[0]["content"] == 0
    assert "| frame stride 1 | 4.0 (4.0 to 4.0) | – | 2.00 (2.00 to 2.00) |" in table(entries)
    assert chosen([]) == tuple(CHANGES) == tuple(TITLES)
    with pytest.raises(InputError, match="unknown setting 'half'; there are nothing, "):
        chosen(["half"])
