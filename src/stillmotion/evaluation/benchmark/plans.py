"""From what a user asks for to the plan of a run: `animatezero`, `dynamicrafter` and `clips`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark import clips as given
from stillmotion.evaluation.benchmark.animatezero import DrawnStills
from stillmotion.evaluation.benchmark.cases import drawn_cases, in_order, rendered_cases
from stillmotion.evaluation.benchmark.dynamicrafter import FilmedClips, RenderedScenes
from stillmotion.evaluation.benchmark.folder import Case, Feature, Manifest, Method, RunFolder
from stillmotion.evaluation.benchmark.making import REAL, Plan, Source
from stillmotion.evaluation.benchmark.manifest import begin, described, versions
from stillmotion.evaluation.benchmark.methods import Protocols
from stillmotion.evaluation.benchmark.prompts import load_prompts, prompt_cases, shipped_prompts
from stillmotion.evaluation.benchmark.real_clips import ChosenClips
from stillmotion.evaluation.benchmark.registry import chosen
from stillmotion.evaluation.extractors.choice import ExtractorChoice, load_extractors
from stillmotion.models.description import read_description
from stillmotion.models.registry import part_path, resolve_model

SHIPPED = "shipped"
_JUDGE = "judge.safetensors"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What all benchmarks are asked."""

    folder: Path
    command: str
    choice: ExtractorChoice
    methods: tuple[str, ...] = ()
    """Names; empty: those that are usual."""
    models: Mapping[str, str] = field(default_factory=dict)
    """By protocol."""
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    processes: int = 1
    suffix: str = ".webp"

    @property
    def scored_from(self) -> str:
        """For the manifest."""
        return "lossless" if self.suffix == ".webp" else f"decoded {self.suffix.removeprefix('.')}"


def animatezero_plan(ask: Ask, *, prompts: str | None, samples: int) -> Plan:
    """Stills drawn from words.

    Args:
        ask: what is asked.
        prompts: "shipped" for the list of 20 that names the checkpoints, a file, or None for
            scenes of the procedural world, which only a model with a judge knows.
        samples: how many cases, at most.

    Raises:
        InputError: the model needs a list of prompts, or methods, weights or files do not fit.
    """
    model = ask.models["animatezero"]
    if prompts is None:
        _require_judge(model, "--prompts shipped, or --prompts FILE")
        cases = drawn_cases(samples)
    else:
        listed = shipped_prompts() if prompts == SHIPPED else load_prompts(Path(prompts))
        cases = prompt_cases(listed)[:samples]
    return _plan(ask, "animatezero", cases, DrawnStills())


def dynamicrafter_plan(ask: Ask, *, real: ChosenClips | None, samples: int, size: int) -> Plan:
    """First frames of real clips.

    Args:
        ask: what is asked.
        real: clips in files, or None for scenes of the procedural world.
        samples: how many scenes of the world.
        size: pixels of a side of clips in files.

    Raises:
        InputError: the model does not know the world, or methods, weights or files do not fit.
    """
    if real is not None:
        source = FilmedClips((size, size))
        return _plan(ask, "dynamicrafter", list(real.cases), source, with_real=True)
    model = ask.models["dynamicrafter"]
    _require_judge(model, "--clips FOLDER with real clips")
    says = read_description(resolve_model(model).path)
    scenes = RenderedScenes(says.height)
    return _plan(ask, "dynamicrafter", rendered_cases(samples), scenes, with_real=True)


def clips_plan(
    ask: Ask, folders: Mapping[str, Path], stills: Path, ends: Path | None, prompts: Path,
    title: str,
) -> Plan:  # fmt: skip
    """Clips in files, one folder for each method.

    Raises:
        InputError: as `clips.find_cases`, `clips.with_ends` and `clips.read_prompts`.
    """
    words = given.read_prompts(prompts, given.picture_names(stills))
    cases, source = given.find_cases(folders, stills, words)
    if ends is not None:
        source = given.with_ends(source, ends)
    methods = [Method(name=name, title=name) for name in folders]
    manifest = _manifest(ask, "clips", title, methods, cases, given.scored_from(source))
    return _begun(ask, manifest, None, source, methods, cases)


def _plan(
    ask: Ask, protocol: Protocols, cases: list[Case], source: Source, *, with_real: bool = False
) -> Plan:
    specs = chosen(protocol, ask.methods, ask.weights)
    methods = [described(spec, ask.models, ask.weights, cases) for spec in specs]
    if with_real:
        # First: what others are held against.
        methods.insert(0, Method(name=REAL, title="real clips", is_bound=True))
    title = {"animatezero": "AnimateZero", "dynamicrafter": "DynamiCrafter"}[protocol]
    manifest = _manifest(
        ask, protocol, f"Benchmark of {title}", methods, in_order(cases), ask.scored_from
    )
    return _begun(ask, manifest, protocol, source, methods, cases)


def _manifest(
    ask: Ask, protocol: str, title: str, methods: Sequence[Method], cases: Sequence[Case],
    scored_from: str,
) -> Manifest:  # fmt: skip
    features = load_extractors(ask.choice, ask.device).features().items()
    facts: dict[str, Any] = {}
    if protocol in ask.models:
        # The method of that name is what others are compared with.
        facts = {"models": dict(ask.models), "reference": protocol}
    return Manifest(
        protocol=protocol, title=title, command=ask.command, methods=tuple(methods),
        cases=tuple(cases), scored_from=scored_from, versions=versions(), facts=facts,
        extractors={part: Feature(name=one.name, identity=one.identity) for part, one in features},
    )  # fmt: skip


def _begun(
    ask: Ask, manifest: Manifest, protocol: Protocols | None, source: Source,
    methods: Sequence[Method], cases: Sequence[Case],
) -> Plan:  # fmt: skip
    run = RunFolder(ask.folder)
    return Plan(
        run=run, manifest=begin(run, manifest), protocol=protocol, source=source,
        methods=tuple(one.name for one in methods), cases=tuple(one.name for one in cases),
        choice=ask.choice, models=ask.models, weights=ask.weights, device=ask.device,
        processes=ask.processes, suffix=ask.suffix,
    )  # fmt: skip


def _require_judge(reference: str, instead: str) -> None:
    """Raise InputError for a model that was not trained on the world."""
    if not part_path(resolve_model(reference).path, _JUDGE).is_file():
        raise InputError(
            f"'{reference}' does not know the procedural world, whose scenes are asked for by "
            f"default; give {instead}"
        )
