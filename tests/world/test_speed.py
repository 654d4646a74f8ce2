"""Rendering is fast enough to train on what is rendered."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from statistics import median

import pytest
import torch

from stillmotion.world.render import render_clip
from stillmotion.world.scene import sample_scene


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Slow only so that a busy machine does not fail the fast tests.
@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_a_clip_takes_less_than_20_ms() -> None:
    # More scenes than backgrounds are kept, so that each is drawn anew in every round.
    scenes = [sample_scene(random.Random(i)) for i in range(40)]
    best = [float("inf")] * len(scenes)
    for _ in range(3):
        for i, scene in enumerate(scenes):
            start = time.process_time()
            render_clip(scene, 16, 128)
            best[i] = min(best[i], time.process_time() - start)
    assert median(best) < 0.020
