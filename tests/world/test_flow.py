"""Flow and occlusion, against the rendered frames and against the geometry."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.world.flow import Flow, optical_flow
from stillmotion.world.motion import Pose, pose, progress
from stillmotion.world.render import (
    FIRST_SUBJECT_ID,
    WorldClip,
    pixel_grid,
    render_clip,
    to_canonical,
)
from stillmotion.world.scene import Fixed, Scene, sample_scene
from stillmotion.world.subjects import parts
from stillmotion.world.vocabulary import SUBJECT_MOTIONS

SIZE, NUM_FRAMES = 128, 8
ABILITIES = [(s, motion) for s, motions in SUBJECT_MOTIONS.items() for motion in motions]
# The shade at a subject's outline has one width on the screen, whatever the subject's size: while
# it grows or shrinks its material changes colour, and no flow explains that.
LEAST_GAIN = {"grow": 2.0, "shrink": 2.0}


def moving(subject: str, motion: str, seed: int = 7) -> tuple[Scene, WorldClip, Flow]:
    fixed = Fixed(subject=subject, motion=motion, domain="plain", pacing="steady")
    scene = sample_scene(random.Random(seed), fixed)
    return scene, render_clip(scene, NUM_FRAMES, SIZE), optical_flow(scene, NUM_FRAMES, SIZE)


def targets(flow: Flow) -> Tensor:
    """Where each pixel goes, in half frames: `(f-1, 2, h, w)`."""
    return torch.cat(pixel_grid(SIZE)) + flow.forward * (2 / SIZE)


@pytest.mark.parametrize(("subject", "motion"), ABILITIES)
def test_the_next_frame_warped_back_is_this_frame(subject: str, motion: str) -> None:
    _, clip, flow = moving(subject, motion)
    here, after = clip.frames[:-1], clip.frames[1:]
    grid = targets(flow).permute(0, 2, 3, 1)
    warped = F.grid_sample(after, grid, align_corners=False, padding_mode="border")
    seen = clip.buffers.subject_mask[:-1] & ~flow.occluded & (flow.forward.norm(dim=1) > 1)
    assert seen.sum() > 500
    with_flow = (warped - here).abs().mean(1)[seen].mean()
    without = (after - here).abs().mean(1)[seen].mean()
    assert without > LEAST_GAIN.get(motion, 5.0) * with_flow


@pytest.mark.parametrize(("subject", "motion"), ABILITIES)
def test_a_pixel_goes_where_its_material_goes(subject: str, motion: str) -> None:
    scene, clip, flow = moving(subject, motion)
    at = pose(scene, progress(scene, NUM_FRAMES))
    here, after = (
        Pose(*(getattr(at, name)[which] for name in ("x", "y", "angle", "scale", "phase")))
        for which in (slice(None, -1), slice(1, None))
    )
    x, y = pixel_grid(SIZE)
    target_x, target_y = targets(flow).unbind(1)
    for index, part in enumerate(parts(subject)):
        shows = clip.buffers.part_id[:-1] == FIRST_SUBJECT_ID + index
        before = part.deform.inverse(*to_canonical(x, y, here), here.phase)
        now = part.deform.inverse(*to_canonical(target_x, target_y, after), after.phase)
        for first, second in zip(before, now, strict=True):
            apart = (first - second).abs().expand_as(shows)[shows]
            assert apart.numel() == 0 or apart.max() < 1e-4


def test_the_background_does_not_flow() -> None:
    for subject, motion in ABILITIES:
        _, clip, flow = moving(subject, motion)
        background = ~clip.buffers.subject_mask[:-1]
        assert (flow.forward.movedim(1, -1)[background] == 0).all()


def test_background_that_gets_covered_is_occluded_and_the_rest_is_not() -> None:
    _, clip, flow = moving("car", "right")
    covers = clip.buffers.subject_mask[1:]
    background = ~clip.buffers.subject_mask[:-1]
    assert (background & covers).any()
    assert torch.equal(flow.occluded[background], covers[background])


def test_what_leaves_the_frame_is_occluded() -> None:
    scene = Scene(subject="car", colour="red", background="room", motion="right", x=0.4)
    flow = optical_flow(scene, 2, SIZE)
    outside = targets(flow)[:, 0] >= 1
    assert outside.any()
    assert flow.occluded[outside].all()


def test_a_subject_that_rests_has_no_flow() -> None:
    scene = sample_scene(random.Random(0), Fixed(subject="star", pacing="still"))
    flow = optical_flow(scene, 3, 64)
    assert flow.forward.abs().max() < 1e-4
    assert not flow.occluded.any()
