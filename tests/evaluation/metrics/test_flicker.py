"""Mean step: known answers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from stillmotion.errors import InputError
from stillmotion.evaluation.metrics.flicker import flicker


def test_known_answers() -> None:
    frames = np.stack([np.full((4, 6, 3), level, np.uint8) for level in (10, 250, 250, 7)])
    assert flicker(frames) == pytest.approx((240 + 0 + 243) / 3)
    assert flicker(frames[:2]) == flicker(frames[1::-1]) == 240  # a drop does not wrap around
    assert flicker(frames[1:3]) == 0


def test_it_is_the_plain_loop() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    apart = [
        abs(int(a) - int(b))
        for here, after in pairwise(frames)
        for a, b in zip(here.flat, after.flat, strict=True)
    ]
    assert flicker(frames) == pytest.approx(sum(apart) / len(apart))


def test_a_single_frame_has_none() -> None:
    with pytest.raises(InputError, match="give 2 or more, not 1"):
        flicker(np.zeros((1, 4, 6, 3), np.uint8))
