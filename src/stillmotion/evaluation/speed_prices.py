"""What the approximate presets save and cost: each sample made exactly and by every preset.

All runs of a sample come right after one another, in an order that changes from sample to sample,
and times are compared within a sample, so that what else a machine does falls on all alike.  The
work, in FLOPs of products and attention, is counted apart and depends on no machine.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.diffusion.speed import SPEEDS, SpeedName
from stillmotion.evaluation.ablation import as_facts, cell
from stillmotion.evaluation.intervals import bootstrap, wilson
from stillmotion.evaluation.measure import Measurer, Row, channels_first
from stillmotion.evaluation.metrics.fidelity import mse, psnr
from stillmotion.evaluation.metrics.steps import step_sizes
from stillmotion.evaluation.samples import Sample, make_sample
from stillmotion.evaluation.video_measure import VideoMeasurer, picture_sample
from stillmotion.media.still import Still
from stillmotion.miniature.judge import ATTRIBUTES
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
from stillmotion.models.registry import pipeline_class, resolve_model

Frames = NDArray[np.uint8]
"""RGB (f h w 3)."""
Tick = Callable[[], None]
NAMES: tuple[SpeedName, ...] = tuple(SPEEDS)
_MEANS = ("psnr", "first_mse", "movement")
_SHARES = ("motion", "content")


class Priced(ABC):
    """Something that every preset makes."""

    title: str

    @abstractmethod
    def make(self, index: int, speed: SpeedName) -> Frames:
        """Sample `index`, whatever is given for it made before and not timed."""

    @abstractmethod
    def prepare(self, index: int) -> None:
        """Make what is given for a sample."""

    @abstractmethod
    def read(self, frames: Frames, exact: Frames, index: int) -> Row:
        """What became of the frames, beside those of the exact run."""


class PricedStills(Priced):
    """Stills that AnimateZero's image model draws."""

    title = "stills"

    def __init__(self, measurer: Measurer) -> None:
        self._measurer = measurer

    def prepare(self, index: int) -> None:
        """Nothing is given but a text."""

    def make(self, index: int, speed: SpeedName) -> Frames:
        return _drawn(self._measurer, make_sample("clip", index), speed).image[None]

    def read(self, frames: Frames, exact: Frames, index: int) -> Row:
        subject = _shows_subject(self._measurer, frames[0], make_sample("clip", index))
        return {"psnr": _psnr(frames, exact), "content": subject}


class PricedClips(Priced):
    """Clips of stills by AnimateZero; the stills are drawn exactly."""

    title = "clips by AnimateZero"

    def __init__(self, measurer: Measurer) -> None:
        self._measurer = measurer
        self._stills: dict[int, Still] = {}

    def prepare(self, index: int) -> None:
        if index not in self._stills:
            sample = make_sample("clip", index)
            self._stills = {index: _drawn(self._measurer, sample, "exact")}

    def make(self, index: int, speed: SpeedName) -> Frames:
        model, sample = self._measurer.model(), make_sample("clip", index)
        made = model.pipeline.animate(
            self._stills[index], model.styled(sample.prompt), seed=sample.seed,
            num_frames=model.folder.description.num_frames, sampling=model.sampling, speed=speed,
        )  # fmt: skip
        frames: Frames = made.frames[0]
        return frames

    def read(self, frames: Frames, exact: Frames, index: int) -> Row:
        """Of the frames that are not given; frame 1 is compared with the still."""
        sample = make_sample("clip", index)
        judged = self._measurer.judge.motion(channels_first(frames)[None])[0]
        return {
            "psnr": _psnr(frames[1:], exact[1:]),
            "first_mse": mse(frames[0], self._stills[index].image),
            "movement": _movement(frames, exact),
            "motion": judged == sample.scene.motion,
            "content": _shows_subject(self._measurer, frames[-1], sample),
        }


class PricedVideos(Priced):
    """Clips of rendered pictures by a DynamiCrafter model."""

    title = "clips by DynamiCrafter"

    def __init__(self, measurer: VideoMeasurer) -> None:
        self._measurer = measurer
        self._pictures: dict[int, Frames] = {}

    def prepare(self, index: int) -> None:
        if index not in self._pictures:
            self._pictures = {index: self._measurer.first_picture(picture_sample(index))}

    def make(self, index: int, speed: SpeedName) -> Frames:
        model, sample = self._measurer.model, picture_sample(index)
        made = model.pipeline.animate(
            self._pictures[index], sample.prompt, seed=sample.seed,
            num_frames=model.folder.description.num_frames, settings=model.settings, speed=speed,
        )  # fmt: skip
        frames: Frames = made.frames[0]
        return frames

    def read(self, frames: Frames, exact: Frames, index: int) -> Row:
        sample = picture_sample(index)
        verdict = asdict(self._measurer.judge.frames(channels_first(frames[-1:]))[0])
        judged = self._measurer.judge.motion(channels_first(frames)[None])[0]
        return {
            "psnr": _psnr(frames, exact),
            "first_mse": mse(frames[0], self._pictures[index]),
            "movement": _movement(frames, exact),
            "motion": judged == sample.scene.motion,
            "content": all(verdict[name] == getattr(sample.scene, name) for name in ATTRIBUTES),
        }


def priced(references: Sequence[str], device: str) -> list[Priced]:
    """What is made with each of some models.  Raises ModelError for one that is not here."""
    found: list[Priced] = []
    for reference in references:
        if pipeline_class(resolve_model(reference).path) == DYNAMICRAFTER_PIPELINE:
            found.append(PricedVideos(VideoMeasurer(reference, device)))
        else:
            measurer = Measurer(reference, device)
            found += [PricedStills(measurer), PricedClips(measurer)]
    return found


def num_runs(what: Sequence[Priced], samples: int) -> int:
    """How often `measure_prices` calls its `tick` for all of `what`."""
    return len(what) * len(NAMES) * (samples + 1)


def measure_prices(one: Priced, samples: int, tick: Tick | None = None) -> list[dict[str, Any]]:
    """An entry for each preset, exact first.

    Sample 0 is made by each before anything is timed, to count its work and to warm up.
    """
    work = {name: _flops(one, name, tick) for name in NAMES}
    rows = [_sample(one, index, tick) for index in range(samples)]
    return [_entry(name, work, rows) for name in NAMES]


def table(title: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """The entries of one kind as Markdown; intervals are 95 %, of times the whole range."""
    head = (
        f"| {title} | work | time, median (range) | PSNR to exact, dB | first frame MSE (0-255) "
        "| movement | motion | content |"
    )
    lines = [head, f"|{' --- |' * 8}"]
    for entry in entries:
        cells = [entry["speed"], f"{entry['work']:.2f}", cell(entry, "time", 2)]
        cells += [cell(entry, "psnr", 1), cell(entry, "first_mse", 2), cell(entry, "movement", 2)]
        cells += [cell(entry, key, 0, " %") for key in _SHARES]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def document(tables: Sequence[str], samples: int, about: str) -> str:
    """A page with the tables; `about` says how they came to be."""
    values = "\n".join(
        f"- `{name}`: {json.dumps(speed.record() or 'no shortcut')}"
        for name, speed in SPEEDS.items()
    )
    return "\n\n".join(
        [
            "# What the approximate presets cost",
            f"{about}  Samples of each kind: {samples}.  Work is counted (FLOPs of products and "
            "attention), as a share of the exact run's; times are shares within a sample.  PSNR "
            "leaves out a frame that is given; movement is the mean step between frames, as a "
            "share of the exact run's.  Motion and content are what the judge sees of what was "
            "asked for (content: the subject of stills and of AnimateZero's last frames, all of a "
            "scene's attributes in DynamiCrafter's last frames).  Intervals are 95 %.",
            values,
            *tables,
        ]
    )


def facts(title: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The entries of one kind for JSON."""
    return {"made": title, "rows": as_facts(entries)}


def _flops(one: Priced, name: SpeedName, tick: Tick | None) -> int:
    one.prepare(0)
    with FlopCounterMode(display=False) as counter:
        one.make(0, name)
    if tick is not None:
        tick()
    total: int = counter.get_total_flops()
    return total


def _sample(one: Priced, index: int, tick: Tick | None) -> dict[str, Row]:
    """A row for each preset."""
    one.prepare(index)
    made: dict[str, Frames] = {}
    seconds: dict[str, float] = {}
    turn = index % len(NAMES)
    for name in (*NAMES[turn:], *NAMES[:turn]):
        start = perf_counter()
        made[name] = one.make(index, name)
        seconds[name] = perf_counter() - start
        if tick is not None:
            tick()
    exact = made["exact"]
    return {
        name: {
            **one.read(frames, exact, index),
            "seconds": seconds[name],
            "time": seconds[name] / seconds["exact"],
        }
        for name, frames in made.items()
    }


def _entry(
    name: SpeedName, work: Mapping[SpeedName, int], samples: list[dict[str, Row]]
) -> dict[str, Any]:
    rows = [sample[name] for sample in samples]
    times = [row["time"] for row in rows]
    entry: dict[str, Any] = {
        "speed": name,
        "work": work[name] / work["exact"],
        "seconds": median(row["seconds"] for row in rows),
        "time": median(times),
        "time_interval": (min(times), max(times)),
    }
    for key in _MEANS:
        values = np.array([row[key] for row in rows if math.isfinite(row.get(key, math.nan))])
        entry[key] = float(values.mean()) if len(values) else math.nan
        entry[f"{key}_interval"] = bootstrap(values)
    for key in _SHARES:
        told = [bool(row[key]) for row in rows if key in row]
        ends = wilson(sum(told), len(told))
        entry[key] = 100 * sum(told) / len(told) if told else math.nan
        entry[f"{key}_interval"] = tuple(100 * end for end in ends)
    return entry


def _drawn(measurer: Measurer, sample: Sample, speed: SpeedName) -> Still:
    model = measurer.model()
    [still] = model.drawing_pipeline.draw(
        model.styled(sample.prompt), seeds=[sample.seed], sampling=model.drawing, speed=speed
    )
    return still


def _shows_subject(measurer: Measurer, image: Frames, sample: Sample) -> bool:
    [verdict] = measurer.judge.frames(channels_first(image)[None])
    return bool(verdict.subject == sample.scene.subject)


def _psnr(made: Frames, exact: Frames) -> float:
    """Over all frames together."""
    width = made.shape[2]
    return psnr(made.reshape(-1, width, 3), exact.reshape(-1, width, 3))


def _movement(frames: Frames, exact: Frames) -> float:
    """Mean step between frames as a share of the exact run's; NaN if that does not move."""
    own, reference = step_sizes(frames).mean(), step_sizes(exact).mean()
    return float(own / reference) if reference > 0 else math.nan
