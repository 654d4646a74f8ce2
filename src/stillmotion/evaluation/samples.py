"""What is measured: scenes, prompts and seeds that training never saw."""

from __future__ import annotations

import random
from dataclasses import dataclass

from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.captions import caption
from stillmotion.world.scene import Fixed, Scene, sample_scene
from stillmotion.world.vocabulary import DOMAINS

#: Root of all evaluation seeds; training uses other roots.
EVALUATION_SEED = 77_001


@dataclass(frozen=True)
class Sample:
    """One thing to make: the scene that is asked for, the words that ask, and the noise."""

    index: int
    scene: Scene
    prompt: str
    seed: int


def make_sample(
    task: str,
    index: int,
    *,
    domain: str = "plain",
    motion: bool = True,
    names_look: bool = False,
) -> Sample:
    """Sample `index` of a task; equal arguments give equal samples everywhere.

    The prompt names the look (`domain`) only if asked to: a model with looks of its own has words
    for each, which are put before it.
    """
    rng = random.Random(derive_seed(EVALUATION_SEED, task, index))
    scene = sample_scene(rng, Fixed(domain=domain, pacing="steady"))
    words = caption(scene, rng, motion=motion, domain=float(names_look))
    return Sample(index, scene, words, derive_seed(EVALUATION_SEED, index) % 2**31)


def domain_of(index: int) -> str:
    """Samples over all looks take turns."""
    return DOMAINS[index % len(DOMAINS)]
