"""Flow magnitude: against clips whose motion is known."""

from __future__ import annotations

import random
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors import dis
from stillmotion.evaluation.metrics.flow import flow_magnitude, motion_magnitude
from stillmotion.evaluation.metrics.flow_fields import ClipFlow, clip_flow
from stillmotion.miniature.data import to_uint8
from stillmotion.world.flow import optical_flow
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, sample_scene


def waves(shift: float, size: int = 64) -> NDArray[np.uint8]:
    """A smooth pattern, moved to the right by `shift` pixels."""
    y, x = np.mgrid[0:size, 0:size]
    grey = (np.sin((x - shift) / 4) + np.cos(y / 5)) * 60 + 128
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_a_pattern_that_slides(shift: float) -> None:
    frames = np.stack([waves(shift * k) for k in range(4)])
    assert flow_magnitude(frames) == pytest.approx(shift, rel=0.05)


def test_a_clip_that_rests() -> None:
    assert flow_magnitude(np.stack([waves(0)] * 3)) == pytest.approx(0, abs=1e-3)


def test_it_follows_the_exact_flow_of_the_world() -> None:
    """The same drive in ever more frames moves ever less from one to the next."""
    scene = sample_scene(random.Random(3), Fixed(subject="car", motion="left", pacing="steady"))
    exact, estimated = [], []
    for num_frames in (5, 9, 16, 31):
        exact.append(float(optical_flow(scene, num_frames).forward.norm(dim=1).mean()))
        pixels = to_uint8(render_clip(scene, num_frames).frames).permute(0, 2, 3, 1)
        estimated.append(flow_magnitude(pixels.numpy()))
    assert exact == sorted(exact, reverse=True)
    assert estimated == sorted(estimated, reverse=True)
    assert estimated[0] > 3 * estimated[-1]


class Given:
    """Gives a flow of 5 pixels for every pixel."""

    name, identity = "given", "test"

    def flow(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.tensor([3.0, -4.0]).expand(*first.shape[1:], 2)


def test_another_estimator() -> None:
    """Which may see in pictures that are too small for DIS."""
    assert flow_magnitude(np.zeros((3, 5, 6, 3), np.uint8), Given()) == pytest.approx(5)
    with pytest.raises(InputError, match="at least 2 frames of at least 1 x 1"):
        flow_magnitude(np.zeros((1, 5, 6, 3), np.uint8), Given())


def test_the_magnitude_of_a_known_flow() -> None:
    forward = torch.zeros(2, 4, 4, 2)
    forward[0, :2] = torch.tensor([3.0, 4.0])  # a quarter of all pixels and steps
    known = ClipFlow(forward, torch.ones(2, 4, 4, dtype=torch.bool))
    assert motion_magnitude(known) == pytest.approx(5 / 4)


def test_noise_is_no_motion() -> None:
    """DIS finds 0.5 pixels and more where a flat picture shows nothing but noise."""
    noise = np.random.default_rng(0).normal(128, 1, (5, 64, 64, 3)).round().astype(np.uint8)
    pictures = torch.from_numpy(noise).permute(0, 3, 1, 2)
    found = clip_flow(pictures, dis.DisFlow())
    assert flow_magnitude(noise) > 0.5
    assert motion_magnitude(found) == 0
    slides = torch.from_numpy(np.stack([waves(k) for k in range(4)])).permute(0, 3, 1, 2)
    found = clip_flow(slides, dis.DisFlow())
    assert motion_magnitude(found) == pytest.approx(1, rel=0.05)


def test_it_is_the_same_for_any_number_of_threads() -> None:
    import cv2

    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    before, found = cv2.getNumThreads(), set()
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            found.add(flow_magnitude(frames))
    finally:
        cv2.setNumThreads(before)
    assert len(found) == 1


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (2, 8, 64, 3), (2, 64, 11, 3)])
def test_too_little_to_see(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least 2 frames of at least 12 x 12"):
        flow_magnitude(np.zeros(shape, np.uint8))


def test_the_smallest_clip() -> None:
    assert flow_magnitude(np.zeros((2, 12, 12, 3), np.uint8)) == pytest.approx(0, abs=1e-3)


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(dis, "find_spec", find_spec)
    with pytest.raises(InputError, match=r"pip install 'stillmotion\[edit\]'"):
        flow_magnitude(np.zeros((2, 64, 64, 3), np.uint8))
