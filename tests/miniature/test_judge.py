"""The judge: kept in a file, taking any size and length, and reading what it has learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stillmotion.errors import ModelError
from stillmotion.miniature.data import ClipSet, StillSet, render_clips, render_stills
from stillmotion.miniature.judge import (
    Judge,
    MotionJudge,
    MotionJudgeStage,
    StillJudge,
    StillJudgeStage,
    disturb,
)
from stillmotion.training.loop import LoopSettings, train
from stillmotion.world.vocabulary import MOTIONS, SUBJECTS

FEW_STEPS = LoopSettings(
    max_steps=30, learning_rate=3e-3, warmup_steps=5, ema_decay=0.5, bfloat16=False
)


@pytest.fixture(scope="module")
def stills() -> StillSet:
    return render_stills(24, 1, 64)


@pytest.fixture(scope="module")
def clips() -> ClipSet:
    return render_clips(12, 1, 32, 16)


@pytest.fixture(scope="module")
def judge(stills: StillSet, clips: ClipSet, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("judge")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        judge = Judge(StillJudge(), MotionJudge())
    train(StillJudgeStage(judge.stills, stills, 8), FEW_STEPS, folder)
    train(MotionJudgeStage(judge.motions, clips, 4), FEW_STEPS, folder)
    return judge


def test_it_reads_what_it_has_been_shown(judge: Judge, stills: StillSet, clips: ClipSet) -> None:
    read = [verdict.subject for verdict in judge.frames(stills.images)]
    right = sum(a == scene.subject for a, scene in zip(read, stills.scenes, strict=True))
    assert right / len(read) > 3 / len(SUBJECTS)
    motions = judge.motion(clips.frames)
    right = sum(a == scene.motion for a, scene in zip(motions, clips.scenes, strict=True))
    assert right / len(motions) > 3 / len(MOTIONS)


def test_it_is_kept_in_a_file(judge: Judge, stills: StillSet, tmp_path: Path) -> None:
    judge.save(tmp_path / "judge.safetensors")
    loaded = Judge.load(tmp_path / "judge.safetensors")
    for network in ("stills", "motions"):
        kept = getattr(loaded, network).state_dict()
        for name, weight in getattr(judge, network).state_dict().items():
            assert torch.equal(kept[name], weight.half().float()), name
    assert not loaded.stills.training
    assert not loaded.motions.training
    assert loaded.frames(stills.images) == judge.frames(stills.images)


def test_a_missing_judge_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no judge at .*; train it with 'stillmotion train"):
        Judge.load(tmp_path / "judge.safetensors")


def test_integers_and_floats_are_read_alike(judge: Judge, stills: StillSet, clips: ClipSet) -> None:
    assert judge.frames(stills.images) == judge.frames(stills.images.float() / 255)
    assert judge.motion(clips.frames) == judge.motion(clips.frames.float() / 255)


@pytest.mark.parametrize(("num_frames", "size"), [(8, 32), (24, 64)])
def test_other_lengths_and_sizes_are_read(judge: Judge, num_frames: int, size: int) -> None:
    clips = render_clips(2, 2, size, num_frames).frames
    assert len(judge.motion(clips)) == 2
    verdicts = judge.frames(clips[:, 0])
    assert all(verdict.subject in SUBJECTS for verdict in verdicts)


def test_a_clip_is_disturbed_as_a_whole_and_stays_in_range() -> None:
    frames = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    same = frames[:1].expand(6, -1, -1, -1)
    disturbed = disturb(same, torch.Generator().manual_seed(3), per=3)
    assert disturbed.min() >= 0
    assert disturbed.max() <= 1
    means = disturbed.mean((1, 2, 3))
    assert (means[:3] - means[0]).abs().max() < 0.01
    assert (means[3:] - means[0]).abs().min() > 0.01
