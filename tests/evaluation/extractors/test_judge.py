"""The judge's features: what a distance between them does on the world."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors.judge import (
    JudgePerceptual,
    JudgeVideo,
    LoadedJudge,
    judge_file,
    load_judge,
)
from stillmotion.miniature.data import render_stills, to_uint8
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, sample_scene


@pytest.fixture(scope="module")
def loaded() -> LoadedJudge:
    return load_judge(judge_file())


@pytest.fixture(scope="module")
def seen(loaded: LoadedJudge) -> JudgePerceptual:
    return JudgePerceptual(loaded)


@pytest.fixture(scope="module")
def stills() -> Tensor:
    return render_stills(24, 11, 64).images


def distances(seen: JudgePerceptual, first: Tensor, second: Tensor) -> Tensor:
    """1 minus cosine, pair by pair (n)."""
    return 1 - (seen.frames(first) * seen.frames(second)).sum(1)


def blurred(frames: Tensor, times: int) -> Tensor:
    values = frames.float()
    for _ in range(times):
        values = F.avg_pool2d(values, 3, 1, 1, count_include_pad=False)
    return values.round().to(torch.uint8)


def noisy(frames: Tensor, level: int) -> Tensor:
    grain = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames.float() + 8 * level * grain).round().clamp(0, 255).to(torch.uint8)


def brighter(frames: Tensor, level: int) -> Tensor:
    return (frames.float() + 6 * level).clamp(0, 255).to(torch.uint8)


def test_frames_are_centred_unit_vectors_of_what_the_classifiers_read(
    loaded: LoadedJudge, seen: JudgePerceptual, stills: Tensor
) -> None:
    read: list[Tensor] = []
    head = loaded.judge.stills.heads["subject"]
    handle = head.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0]))
    loaded.judge.frames(stills)
    handle.remove()
    found = seen.frames(stills)
    assert found.shape == (24, 1536)
    centred = read[0] - read[0].mean(1, keepdim=True)
    assert torch.allclose(found, centred / centred.norm(dim=1, keepdim=True), atol=1e-6)


def test_equal_pictures_are_at_no_distance(seen: JudgePerceptual, stills: Tensor) -> None:
    assert distances(seen, stills, stills.clone()).abs().max() < 1e-6


@pytest.mark.parametrize("change", [blurred, noisy, brighter])
def test_the_distance_grows_with_the_change(
    seen: JudgePerceptual, stills: Tensor, change: type[object]
) -> None:
    means = [float(distances(seen, stills, change(stills, k)).mean()) for k in (0, 1, 2, 3, 4, 6)]
    assert means == sorted(means)
    assert means[-1] > 4 * means[1] > 0


def test_another_scene_is_further_than_a_slight_change(
    seen: JudgePerceptual, stills: Tensor
) -> None:
    others = distances(seen, stills, stills.roll(1, 0))
    for change in (blurred, noisy, brighter):
        assert distances(seen, stills, change(stills, 2)).max() < 0.5 * others.min()


def test_another_subject_alone_is_further_than_a_slight_change(seen: JudgePerceptual) -> None:
    """The same place and look, the same motion, another thing in it."""
    frames = [
        to_uint8(
            render_clip(
                sample_scene(
                    random.Random(5), Fixed(subject=subject, colour="red", domain="plain")
                ),
                2,
                64,
            ).frames[:1]
        )
        for subject in ("car", "fish")
    ]
    other = distances(seen, frames[0], frames[1])
    assert other > 3 * distances(seen, frames[0], blurred(frames[0], 1))
    assert other > 3 * distances(seen, frames[0], noisy(frames[0], 1))


def test_larger_and_other_shapes_are_averaged(seen: JudgePerceptual, stills: Tensor) -> None:
    larger = stills.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert distances(seen, stills, larger).abs().max() < 1e-6
    stretched = stills.repeat_interleave(2, 2)  # 64 wide already
    assert distances(seen, stills, stretched).abs().max() < 1e-6


def test_video_features_are_the_judges_own(loaded: LoadedJudge) -> None:
    scenes = [sample_scene(random.Random(seed)) for seed in range(18)]
    clips = torch.stack([to_uint8(render_clip(scene, 8, 32).frames) for scene in scenes])
    found = JudgeVideo(loaded).clips(clips)
    assert found.shape == (18, 192)
    assert torch.allclose(found, loaded.judge.motion_features(clips), atol=1e-5)


def test_names_cannot_be_mistaken(loaded: LoadedJudge) -> None:
    weights = sha256(judge_file().read_bytes()).hexdigest()
    for extractor in (JudgeVideo(loaded), JudgePerceptual(loaded), loaded):
        assert (extractor.name, extractor.identity) == ("judge", weights)


def test_wrong_shapes_are_refused(loaded: LoadedJudge) -> None:
    with pytest.raises(InputError, match=r"\(n f 3 h w\)"):
        JudgeVideo(loaded).clips(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"\(n 3 h w\)"):
        JudgePerceptual(loaded).frames(torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8))


def test_files_that_are_no_judge(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no judge at"):
        load_judge(tmp_path / "absent.safetensors")
    with pytest.raises(ModelError, match="is a folder; give the judge's file"):
        load_judge(tmp_path)
    save_file({"a": torch.rand(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="of another kind"):
        load_judge(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="damaged"):
        load_judge(tmp_path / "y.safetensors")
