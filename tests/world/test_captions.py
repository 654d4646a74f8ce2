"""Captions name what is there, the motion only if asked, in words of a known list."""

from __future__ import annotations

import random
import re

from stillmotion.world import captions
from stillmotion.world.captions import caption, vocabulary
from stillmotion.world.scene import Fixed, Scene, sample_scene
from stillmotion.world.vocabulary import BACKGROUNDS, DOMAINS, MOTIONS, SUBJECTS

MOTION_PHRASES, STILL_PHRASES = captions._MOTIONS, captions._STILL


def says(text: str, phrases: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in phrases)


def scenes(count: int) -> list[Scene]:
    return [sample_scene(random.Random(i)) for i in range(count)]


def test_everything_has_words() -> None:
    assert set(captions._SUBJECTS) == set(SUBJECTS)
    assert set(captions._BACKGROUNDS) == set(BACKGROUNDS)
    assert set(captions._MOTIONS) == set(MOTIONS)
    assert set(captions._DOMAINS) == set(DOMAINS)


def test_without_motion_no_motion_is_named() -> None:
    every = (*STILL_PHRASES, *(phrase for words in MOTION_PHRASES.values() for phrase in words))
    rng = random.Random(0)
    for scene in scenes(2000):
        text = caption(scene, rng, motion=False, domain=0.5)
        # "with rolling hills" names a place with the word for the waves' motion.
        assert not says(text.replace("rolling hills", "hills"), every), text


def test_with_motion_the_scenes_own_is_named() -> None:
    rng = random.Random(0)
    for scene in scenes(500):
        resting = scene.pacing == "still"
        phrases = STILL_PHRASES if resting else MOTION_PHRASES[scene.motion]
        assert says(caption(scene, rng, motion=True), phrases)


def test_subject_colour_and_background_are_always_named() -> None:
    rng = random.Random(0)
    for scene in scenes(500):
        text = caption(scene, rng, motion=False)
        assert says(text, (scene.colour,))
        assert says(text, captions._SUBJECTS[scene.subject])
        assert says(text, captions._BACKGROUNDS[scene.background])


def test_the_look_is_named_as_often_as_asked() -> None:
    rng = random.Random(0)
    for scene in scenes(200):
        named = caption(scene, rng, motion=True, domain=1.0)
        assert named.startswith(captions._DOMAINS[scene.domain])
        assert not caption(scene, rng, motion=True).startswith(captions._DOMAINS[scene.domain])


def test_the_vocabulary_covers_every_caption() -> None:
    rng, known = random.Random(0), set(vocabulary())
    used: set[str] = set()
    for scene in scenes(2000):
        text = caption(scene, rng, motion=rng.random() < 0.5, domain=0.5)
        used.update(text.replace(",", "").split())
    assert used <= known
    assert known - used == set()


def test_wording_varies_and_the_canonical_one_does_not() -> None:
    scene = sample_scene(random.Random(0), Fixed(subject="cat", motion="look", pacing="steady"))
    varied = {caption(scene, random.Random(i), motion=True) for i in range(50)}
    canonical = {caption(scene, random.Random(i), motion=True, canonical=True) for i in range(50)}
    assert len(varied) > 20
    assert len(canonical) == 1
    assert canonical.pop().startswith(f"a {scene.colour} cat looking to one side ")
