"""What is measured was never trained on, and is the same everywhere."""

from __future__ import annotations

from collections import Counter

import pytest

from stillmotion.evaluation.samples import EVALUATION_SEED, domain_of, make_sample
from stillmotion.miniature.data import clip_scene, judge_clip_scene, still_scene
from stillmotion.miniature.recipe import RECIPES
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.captions import vocabulary
from stillmotion.world.scene import Scene
from stillmotion.world.vocabulary import DOMAINS

COUNT = 200


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_root_of_all_seeds_is_not_that_of_training(recipe: str) -> None:
    root = RECIPES[recipe]().seed
    assert root != EVALUATION_SEED
    ours = {
        derive_seed(EVALUATION_SEED, task, i) for task in ("still", "clip") for i in range(COUNT)
    }
    theirs = {derive_seed(root, task, i) for task in ("still", "clip") for i in range(COUNT)}
    assert not ours & theirs


def test_no_scene_was_trained_on() -> None:
    root = RECIPES["cpu"]().seed
    judge, clips = derive_seed(root, "judge"), derive_seed(root, "clips")
    trained: list[Scene] = []
    for index in range(COUNT):
        trained += [still_scene(root, index)[0], still_scene(judge, index)[0]]
        trained += [clip_scene(clips, index), judge_clip_scene(judge, index)]
    for task in ("still", "clip", "ablation"):
        assert not any(make_sample(task, index).scene in trained for index in range(COUNT))


def test_samples_are_the_same_everywhere() -> None:
    assert make_sample("clip", 3) == make_sample("clip", 3)
    assert make_sample("clip", 3) != make_sample("clip", 4)
    assert make_sample("clip", 3).scene != make_sample("still", 3).scene
    assert 0 <= make_sample("clip", 3).seed < 2**31


def test_prompts_use_the_words_of_the_world_and_name_no_look() -> None:
    for index in range(COUNT):
        sample = make_sample("still", index, domain="neon", motion=False)
        assert set(sample.prompt.split()) <= set(vocabulary())
        assert "neon" not in sample.prompt
        assert sample.scene.domain == "neon"
        assert sample.scene.pacing == "steady"


def test_looks_take_turns() -> None:
    counts = Counter(domain_of(index) for index in range(50))
    assert counts == dict.fromkeys(DOMAINS, 10)
