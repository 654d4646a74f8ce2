"""Who animates pictures by DynamiCrafter: the published way of computing, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from stillmotion.benchmarks.contenders import Contender, Made, Prepared
from stillmotion.benchmarks.ladder import saving_contenders
from stillmotion.benchmarks.official_dynamicrafter import official_clip
from stillmotion.benchmarks.stages import VideoStage, networks_of, stage_compiling
from stillmotion.diffusion.speed import SPEEDS
from stillmotion.runtime.memory import MemoryPlan

OFFICIAL, OURS, OURS_COMPILED = "official", "ours", "ours-compiled"


def video_contenders(
    group: str, *, compiles: bool, each_saving: bool = True
) -> tuple[Contender, ...]:
    """All of them, for one of the networks; the compiled one, and rungs, only if wanted."""
    own: Any = {"group": group, "label": "exact"}
    return (
        Contender(
            name=OFFICIAL, title="DynamiCrafter as published", group=group, label="reference",
            prepare=official_clip,
        ),
        Contender(
            name=OURS, title="DynamiCrafter by this package", against=OFFICIAL, prepare=_ours,
            **own,
        ),
        *(saving_contenders(_ours, group, OFFICIAL) if each_saving else ()),
        *(_compiled(group) if compiles else ()),
        Contender(
            name="ours-sequential", title="this package, guidance in sequence", against=OURS,
            prepare=partial(_ours, memory=MemoryPlan(sequential_guidance=True, decode_chunk=1)),
            **own,
        ),
        *(
            Contender(
                name=f"ours-{name}", title=f"this package, --speed {name}", group=group,
                label="approximate", against=OURS, prepare=partial(_ours, extras={"speed": name}),
            )
            for name, speed in SPEEDS.items()
            if not speed.is_exact
        ),
    )  # fmt: skip


def _compiled(group: str) -> list[Contender]:
    return [
        Contender(
            name=OURS_COMPILED, title="this package, blocks compiled", group=group,
            label="exact", against=OURS, prepare=_ours_compiled, is_counted=False,
        )
    ]  # fmt: skip


def _ours_compiled(stage: VideoStage) -> Prepared:
    return _ours(stage, extras={"compiling": stage_compiling(stage)})


def _ours(
    stage: VideoStage,
    *,
    memory: MemoryPlan | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Prepared:
    """This package's pipeline."""
    given = {"memory": memory or MemoryPlan(), **(extras or {})}

    def run(num_steps: int) -> Made:
        made = stage.pipe.animate(
            stage.picture, stage.clip.prompt, seed=stage.clip.seed,
            num_frames=stage.clip.num_frames, settings=stage.settings(num_steps), **given,
        )  # fmt: skip
        return Made(latents=made.latents, frames=made.frames[0])

    return Prepared(run=run, networks=networks_of(stage.pipe))
