"""Makes and scores what a run lacks, in several processes; a killed run goes on where it was."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from stillmotion.evaluation.benchmark.folder import Case, Manifest, RunFolder, Sample
from stillmotion.evaluation.benchmark.methods import (
    Context,
    Frames,
    Job,
    Maker,
    Protocols,
)
from stillmotion.evaluation.benchmark.registry import registry
from stillmotion.evaluation.benchmark.scoring import Scored, Scorer
from stillmotion.evaluation.extractors.choice import ExtractorChoice
from stillmotion.evaluation.workers import spread
from stillmotion.media.clips import save_clip
from stillmotion.media.images import load_image
from stillmotion.media.provenance import ModelIdentity, Provenance
from stillmotion.media.reading import read_frames
from stillmotion.media.still import Still

REAL = "real"
"""The method whose clips are not made: they are the data."""
Tick = Callable[[], None]


class Source(ABC):
    """Where the pictures of a benchmark come from, and its real clips if it has any.

    Sent to the worker processes: plain data.
    """

    @abstractmethod
    def prepare(self, plan: Plan, case: Case) -> None:
        """Write the picture of a case, and whatever else belongs to it, into the run folder."""

    def is_prepared(self, run: RunFolder, case: Case) -> bool:
        """Whether `prepare` has finished."""
        return (run.path / str(case.still)).is_file()

    def real_clip(self, case: Case, num_frames: int) -> Frames | None:
        """The clip (f h w 3) that the case was taken from; None if there is none."""
        return None

    def given_clip(self, method: str, case: Case) -> Path | None:
        """The file of a clip that is only to be scored; None: it is made here."""
        return None

    def end_picture(self, case: Case) -> Path | None:
        """The file of a picture that clips of this case were to end with."""
        return None

    def domain_pictures(self, run: RunFolder, case: Case) -> list[Path]:
        """Pictures that the image model drew for the case's words; may be none."""
        return []


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: what it is of, and how it is made."""

    run: RunFolder
    manifest: Manifest
    protocol: Protocols | None
    """None: clips that are only scored."""
    source: Source
    methods: tuple[str, ...]
    """Of the manifest, those that are asked for now."""
    cases: tuple[str, ...]
    choice: ExtractorChoice
    models: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    processes: int = 1
    num_frames: int = 16
    suffix: str = ".webp"
    """Of the clips' files: .webp loses nothing, .mp4 what H.264 loses."""

    @property
    def wanted(self) -> list[Case]:
        """The cases that are asked for, in the manifest's order."""
        return [case for case in self.manifest.cases if case.name in self.cases]


def num_parts(plan: Plan) -> int:
    """How often `make_run` ticks."""
    return len(plan.cases) * (1 + len(plan.methods))


def make_run(plan: Plan, tick: Tick) -> None:
    """Prepare the cases, then make and score each clip; `tick` is called for every one of both."""
    missing = [case for case in plan.wanted if not plan.source.is_prepared(plan.run, case)]
    for _ in range(len(plan.cases) - len(missing)):
        tick()
    for _ in spread(missing, _prepare_case, plan.processes, _open, plan):
        tick()
    done = plan.run.read_samples()
    tasks = [
        (method, case)
        for method in plan.methods
        for case in plan.wanted
        if (method, case.name) not in done
    ]
    for _ in range(len(plan.cases) * len(plan.methods) - len(tasks)):
        tick()
    for _, sample in spread(tasks, _make_sample, plan.processes, _open, plan):
        plan.run.add_samples([sample])
        tick()


class Bench:
    """What one process works with."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.run = plan, plan.run
        self._makers: dict[str, Maker] = {}

    @cached_property
    def scorer(self) -> Scorer:
        """The extractors and what is computed once for each case."""
        return Scorer(self.plan.choice, self.plan.device)

    def sample(self, method: str, case: Case) -> Sample:
        """One clip, made, written, read again and scored."""
        frames, path, seconds = self._clip(method, case)
        real = None
        if method == REAL:  # once for each case; reports find it there for all methods
            real = self.plan.source.real_clip(case, self.plan.num_frames)
        end = self.plan.source.end_picture(case)
        scored = Scored(
            frames=frames, case=case, picture=load_image(self.run.path / str(case.still)),
            real=real, end=None if end is None else load_image(end),
            domain=tuple(self.plan.source.domain_pictures(self.run, case)),
        )  # fmt: skip
        metrics, features = self.scorer.score(scored)
        return Sample(
            method=method, case=case.name, clip=path, metrics=metrics, features=features,
            num_frames=len(frames), seconds=seconds,
        )  # fmt: skip

    def _clip(self, method: str, case: Case) -> tuple[Frames, str, float | None]:
        """Frames as the file has them, its path for the sample, and seconds of making."""
        given = self.plan.source.given_clip(method, case)
        if given is not None:
            return read_frames(given).frames, str(given), None
        begun = time.perf_counter()
        if method == REAL:
            made = self.plan.source.real_clip(case, self.plan.num_frames)
            assert made is not None
        else:
            still = Still.load(self.run.path / str(case.still))
            job = Job(case=case, still=still, num_frames=self.plan.num_frames)
            made = self._maker(method).make(job)
        seconds = None if method == REAL else round(time.perf_counter() - begun, 3)
        name = f"clips/{method}/{case.name}{self.plan.suffix}"
        path = self.run.path / name
        save_clip(
            made, path, fps=self.plan.manifest.fps, provenance=self._provenance(method, case),
            overwrite=True, side_car=False,
        )  # fmt: skip
        return read_frames(path).frames, name, seconds

    def _maker(self, name: str) -> Maker:
        if name not in self._makers:
            self._makers.clear()  # the tasks come ordered by methods; two need not fit in memory
            assert self.plan.protocol is not None
            context = Context(
                models=self.plan.models, weights=self.plan.weights.get(name),
                device=self.plan.device,
            )  # fmt: skip
            self._makers[name] = registry(self.plan.protocol)[name].build(context)
        return self._makers[name]

    def _provenance(self, method: str, case: Case) -> Provenance:
        [told] = [one for one in self.plan.manifest.methods if one.name == method]
        return Provenance(
            kind="clip", method=f"benchmark: {method}", prompt=case.prompt, seed=case.seed,
            model=ModelIdentity(name=told.model, fingerprint=told.identity),
            settings=told.settings,
        )  # fmt: skip


_bench: Bench | None = None


def _open(plan: Plan) -> None:
    global _bench
    if plan.processes > 1:
        torch.set_num_threads(1)
    _bench = Bench(plan)


def _prepare_case(case: Case) -> None:
    assert _bench is not None
    _bench.plan.source.prepare(_bench.plan, case)


def _make_sample(task: tuple[str, Case]) -> Sample:
    assert _bench is not None
    return _bench.sample(*task)
