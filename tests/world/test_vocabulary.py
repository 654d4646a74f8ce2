"""What exists, and what scenes can be drawn of it."""

from __future__ import annotations

import random
from collections import Counter
from statistics import median

import pytest
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, Scene, sample_scene
from stillmotion.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    DOMAINS,
    IN_PLACE_MOTIONS,
    MOTIONS,
    SUBJECT_MOTIONS,
    SUBJECTS,
)


def test_the_world_is_rich_enough() -> None:
    assert len(SUBJECTS) >= 12
    assert len(COLOURS) >= 10
    assert len(BACKGROUNDS) >= 8
    assert len(MOTIONS) >= 10
    assert len(DOMAINS) >= 5
    assert len(IN_PLACE_MOTIONS) >= 5


def test_every_motion_is_of_some_subject_and_no_other_is_named() -> None:
    used = {motion for motions in SUBJECT_MOTIONS.values() for motion in motions}
    assert used == set(MOTIONS)
    assert len(set(MOTIONS)) == len(MOTIONS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_motion_that_a_subject_cannot_do_is_refused(subject: str) -> None:
    impossible = next(motion for motion in MOTIONS if motion not in SUBJECT_MOTIONS[subject])
    with pytest.raises(InputError, match=f"a {subject} cannot {impossible}; it can: "):
        Scene(subject=subject, colour="red", background="room", motion=impossible)


def test_a_seed_gives_the_same_scene() -> None:
    first, second = ([sample_scene(random.Random(i)) for i in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 50


def test_sampling_reaches_everything() -> None:
    scenes = [sample_scene(random.Random(i)) for i in range(2000)]
    for name, values in {
        "subject": SUBJECTS,
        "colour": COLOURS,
        "background": BACKGROUNDS,
        "motion": MOTIONS,
        "domain": DOMAINS,
        "pacing": ("steady", "rest", "ease", "accelerate", "still"),
    }.items():
        assert set(Counter(getattr(scene, name) for scene in scenes)) == set(values)


def test_sampling_keeps_what_is_fixed() -> None:
    fixed = Fixed(colour="teal", background="city", motion="sway", domain="neon", pacing="rest")
    for i in range(30):
        scene = sample_scene(random.Random(i), fixed)
        assert scene.subject in ("cat", "balloon", "boat")
        for name in ("colour", "background", "motion", "domain", "pacing"):
            assert getattr(scene, name) == getattr(fixed, name)


def longer_side(mask: Tensor) -> float:
    """The longer side of a mask's bounding box `(h, w)` as a part of the frame."""
    return max((mask.any(axis).sum() / len(mask)).item() for axis in (0, 1))


# Waves are left out: a sea has no sides and reaches from edge to edge.
@pytest.mark.parametrize("subject", [subject for subject in SUBJECTS if subject != "waves"])
def test_subjects_take_a_third_to_two_thirds_of_the_frame(subject: str) -> None:
    sizes = []
    for i in range(15):
        scene = sample_scene(random.Random(i), Fixed(subject=subject, pacing="still"))
        sizes.append(longer_side(render_clip(scene, 1, 128).buffers.subject_mask[0]))
    assert 1 / 3 <= median(sizes) <= 2 / 3
