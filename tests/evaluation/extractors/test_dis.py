"""Flow by DIS: against motion that is known exactly."""

from __future__ import annotations

import random
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.evaluation.extractors import dis
from stillmotion.evaluation.extractors.dis import DisFlow
from stillmotion.miniature.data import to_uint8
from stillmotion.world.flow import optical_flow
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, sample_scene


def waves(right: float, down: float = 0.0, size: int = 64) -> Tensor:
    """A smooth pattern (3 h w), moved by so many pixels."""
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    grey = (((x - right) / 4).sin() + ((y - down) / 5).cos()) * 60 + 128
    return grey.to(torch.uint8).expand(3, size, size)


@pytest.mark.parametrize(("right", "down"), [(3.0, 0.0), (0.0, 2.0), (-1.5, 1.0)])
def test_a_pattern_that_slides(right: float, down: float) -> None:
    """x before y, in pixels, from the first frame to the second."""
    flow = DisFlow().flow(waves(0), waves(right, down))
    assert flow.shape == (64, 64, 2)
    assert flow.dtype == torch.float32
    assert flow[8:-8, 8:-8].mean((0, 1)).tolist() == pytest.approx([right, down], abs=0.1)


def test_a_frame_that_rests() -> None:
    assert DisFlow().flow(waves(0), waves(0)).abs().max() < 1e-3


def test_it_is_the_worlds_own_flow() -> None:
    """Where a car drives, the estimate is nearer to the truth than no motion at all."""
    scene = sample_scene(random.Random(3), Fixed(subject="car", motion="left", pacing="steady"))
    exact = optical_flow(scene, 9).forward[3].permute(1, 2, 0)
    frames = to_uint8(render_clip(scene, 9).frames)
    flow = DisFlow().flow(frames[3], frames[4])
    moving = exact.norm(dim=-1) > 1
    assert moving.sum() > 100
    error = (flow - exact).norm(dim=-1)[moving].mean()
    assert error < 0.5 * exact.norm(dim=-1)[moving].mean()


def test_it_is_the_same_whatever_came_before_and_for_any_number_of_threads() -> None:
    import cv2

    estimator, before = DisFlow(), cv2.getNumThreads()
    first = estimator.flow(waves(0), waves(2))
    estimator.flow(waves(5), waves(0, 3))
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            assert torch.equal(estimator.flow(waves(0), waves(2)), first)
    finally:
        cv2.setNumThreads(before)


def test_its_identity_is_its_version() -> None:
    import cv2

    assert DisFlow().name == "DIS"
    assert DisFlow().identity == f"opencv {cv2.__version__} DIS medium"


@pytest.mark.parametrize("size", [(8, 64), (64, 11)])
def test_too_little_to_see(size: tuple[int, int]) -> None:
    frame = torch.zeros(3, *size, dtype=torch.uint8)
    with pytest.raises(InputError, match="at least 12 x 12"):
        DisFlow().flow(frame, frame)


def test_the_smallest_frame() -> None:
    frame = torch.zeros(3, 12, 12, dtype=torch.uint8)
    assert DisFlow().flow(frame, frame).shape == (12, 12, 2)


def test_frames_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="between frames of 64 x 64 and 32 x 32 pixels"):
        DisFlow().flow(waves(0), waves(0, size=32))


def test_floats_are_refused() -> None:
    with pytest.raises(InputError, match="give uint8"):
        DisFlow().flow(waves(0).float(), waves(0))


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(dis, "find_spec", find_spec)
    with pytest.raises(InputError, match=r"pip install 'stillmotion\[edit\]'"):
        DisFlow()
