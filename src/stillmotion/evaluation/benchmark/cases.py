"""What a benchmark asks for: cases of the procedural world, which training never saw, or words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.samples import Sample, domain_of, make_sample
from stillmotion.miniature.data import to_uint8
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at

TRUTH = ("subject", "colour", "background", "domain", "motion")
"""What a scene shows and a judge reads; a case of the world has it among its facts."""
_TASK = "benchmark"


def drawn_cases(count: int) -> list[Case]:
    """Scenes of the world to be drawn, by words alone, in the looks by turns."""
    return [_case(index, names_look=False) for index in range(count)]


def rendered_cases(count: int) -> list[Case]:
    """Scenes of the world whose first frame is rendered, in the looks by turns."""
    return [_case(index, names_look=True) for index in range(count)]


def rendered_clip(case: Case, num_frames: int, size: int) -> NDArray[np.uint8]:
    """The clip (f h w 3) itself that a case of `rendered_cases` begins."""
    scene = _sample(int(str(case.facts["index"])), names_look=True).scene
    clip = to_uint8(render_at(scene, progress(scene, num_frames), size).frames)
    return np.ascontiguousarray(clip.permute(0, 2, 3, 1).numpy())


def in_order(cases: Sequence[Case]) -> list[Case]:
    """Cases of one model together, so that each process loads it once."""
    return sorted(cases, key=lambda one: (str(one.facts.get("model", "")), one.group, one.name))


def _case(index: int, *, names_look: bool) -> Case:
    sample = _sample(index, names_look=names_look)
    truth = {name: getattr(sample.scene, name) for name in TRUTH}
    look = sample.scene.domain
    facts: dict[str, Any] = {"index": index, **truth}
    if not names_look:
        facts["look"] = look
    name = f"{index:04d}"
    return Case(
        name=name, prompt=sample.prompt, seed=sample.seed, still=f"stills/{name}.png",
        group=look, facts=facts,
    )  # fmt: skip


def _sample(index: int, *, names_look: bool) -> Sample:
    task = f"{_TASK}-rendered" if names_look else _TASK
    return make_sample(task, index, domain=domain_of(index), names_look=names_look)
