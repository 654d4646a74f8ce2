"""Rendering: every scene, the same at every resolution, its content the same in every look."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from stillmotion.world.motion import pose, progress
from stillmotion.world.render import (
    FIRST_SUBJECT_ID,
    edge_map,
    pixel_grid,
    render_clip,
    to_canonical,
    to_screen,
)
from stillmotion.world.scene import Fixed, Scene, sample_scene
from stillmotion.world.vocabulary import DOMAINS, SUBJECT_MOTIONS


def scenes(count: int, fixed: Fixed | None = None) -> list[Scene]:
    return [sample_scene(random.Random(i), fixed) for i in range(count)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_subject_and_motion_renders(domain: str) -> None:
    for subject, motions in SUBJECT_MOTIONS.items():
        for motion in motions:
            fixed = Fixed(subject=subject, motion=motion, domain=domain, pacing="steady")
            clip = render_clip(sample_scene(random.Random(1), fixed), 4, 32)
            assert clip.frames.shape == (4, 3, 32, 32)
            assert torch.isfinite(clip.frames).all()
            assert clip.frames.min() >= 0
            assert clip.frames.max() <= 1
            assert clip.buffers.part_id.shape == clip.buffers.depth.shape == (4, 32, 32)
            assert clip.buffers.subject_mask[0].any(), f"{subject} is out of view"
            changed = (clip.frames[1:] != clip.frames[0]).any()
            assert changed, f"{subject} {motion} is still"


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("size", [48, 100])
def test_any_size_renders(domain: str, size: int) -> None:
    clip = render_clip(scenes(1, Fixed(domain=domain))[0], 2, size)
    assert clip.frames.shape == (2, 3, size, size)


def test_rendering_is_deterministic() -> None:
    for scene in scenes(10):
        first, second = (render_clip(scene, 3, 64) for _ in range(2))
        assert torch.equal(first.frames, second.frames)
        assert torch.equal(first.buffers.part_id, second.buffers.part_id)


def test_a_clip_does_not_depend_on_its_length() -> None:
    for scene in scenes(10):
        long, short = render_clip(scene, 9, 64), render_clip(scene, 5, 64)
        assert (long.frames[::2] - short.frames).abs().max() < 1e-3


def test_the_content_is_the_same_at_every_resolution() -> None:
    for scene in scenes(20):
        small = render_clip(scene, 3, 64).buffers.albedo
        large = render_clip(scene, 3, 128).buffers.albedo
        assert (F.avg_pool2d(large, 2) - small).abs().mean() < 0.004


# The outlines of "neon" and "sketch" are two pixels wide at every resolution, so these differ.
@pytest.mark.parametrize("domain", ["plain", "pixel-art", "watercolour"])
def test_looks_without_outlines_are_the_same_at_every_resolution(domain: str) -> None:
    for scene in scenes(10, Fixed(domain=domain)):
        small, large = (render_clip(scene, 3, size).frames for size in (64, 128))
        assert (F.avg_pool2d(large, 2) - small).abs().mean() < 0.04


def test_a_look_changes_the_picture_and_not_the_content() -> None:
    for scene in scenes(10):
        clips = [render_clip(replace(scene, domain=domain), 2, 64) for domain in DOMAINS]
        for clip in clips[1:]:
            assert torch.equal(clip.buffers.part_id, clips[0].buffers.part_id)
            assert torch.equal(clip.buffers.albedo, clips[0].buffers.albedo)
            assert (clip.frames - clips[0].frames).abs().mean() > 0.01


def test_depth_tells_near_from_far() -> None:
    for scene in scenes(10):
        buffers = render_clip(scene, 1, 64).buffers
        assert (
            buffers.depth[buffers.subject_mask] > buffers.depth[~buffers.subject_mask].max()
        ).all()
        assert (buffers.depth[buffers.part_id == 0] == 0).all()


def test_edges_are_both_sides_of_every_border() -> None:
    part_id = torch.zeros(1, 4, 4, dtype=torch.uint8)
    part_id[0, :, 2:] = FIRST_SUBJECT_ID
    assert torch.equal(edge_map(part_id)[0], torch.tensor([[0.0, 1, 1, 0]] * 4))


def test_screen_and_canonical_coordinates_are_inverse() -> None:
    x, y = pixel_grid(16)
    for scene in scenes(20):
        at = pose(scene, progress(scene, 4))
        back = to_screen(*to_canonical(x, y, at), at)
        for found, given in zip(back, (x, y), strict=True):
            assert (found - given).abs().max() < 1e-5
