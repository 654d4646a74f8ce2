"""Pacing: when a subject moves, and when it rests."""

from __future__ import annotations

import random

import pytest
import torch

from stillmotion.world.motion import progress
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, Pacing, sample_scene
from stillmotion.world.vocabulary import SUBJECTS

NUM_FRAMES = 9


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_resting_clip_begins_with_equal_frames_and_then_moves(subject: str) -> None:
    scene = sample_scene(random.Random(3), Fixed(subject=subject, pacing="rest"))
    frames = render_clip(scene, NUM_FRAMES, 64).frames
    resting = int(scene.rest * (NUM_FRAMES - 1)) + 1
    assert resting >= 2
    assert (frames[:resting] == frames[0]).all()
    assert not torch.equal(frames[resting], frames[0])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_still_clip_never_changes(subject: str) -> None:
    scene = sample_scene(random.Random(3), Fixed(subject=subject, pacing="still"))
    frames = render_clip(scene, NUM_FRAMES, 64).frames
    assert (frames == frames[0]).all()


@pytest.mark.parametrize("pacing", ["steady", "ease", "accelerate"])
def test_other_clips_make_the_whole_motion(pacing: Pacing) -> None:
    scene = sample_scene(random.Random(0), Fixed(pacing=pacing))
    at = progress(scene, NUM_FRAMES)
    assert at[0] == 0
    assert at[-1] == 1
    assert (at.diff() > 0).all()


def test_the_speed_after_a_rest_is_the_steady_one() -> None:
    at = progress(sample_scene(random.Random(0), Fixed(pacing="rest")), 101)
    moving = at.diff()[at[:-1] > 0]
    assert torch.allclose(moving, torch.full_like(moving, 0.01), atol=1e-6)


def test_one_frame_is_the_beginning() -> None:
    assert progress(sample_scene(random.Random(0)), 1).tolist() == [0]
