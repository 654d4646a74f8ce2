"""What a job costs, estimated before it is made: frames x pixels x steps x count.

Sizes and steps that a job leaves open are those of the picture's or clip's own record, else the
model's.  One unit is one pixel of one frame through one step; how long that takes depends on the
model and the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from stillmotion.animatezero.pacing import dense_count
from stillmotion.animatezero.settings import TimeTravel
from stillmotion.errors import InputError, ModelError
from stillmotion.jobs.fields import MAX_FRAMES
from stillmotion.jobs.methods import DYNAMICRAFTER, chosen_method
from stillmotion.jobs.model import (
    AnimateJob,
    AnyJob,
    Clips,
    DrawJob,
    EditJob,
    EvaluateJob,
    InterpolateJob,
    LoopJob,
    StoryJob,
)
from stillmotion.jobs.sources import FileSource, Find, find_file
from stillmotion.jobs.story_script import Options, Shot
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import open_picture
from stillmotion.media.provenance import Provenance
from stillmotion.models.description import ModelDescription
from stillmotion.models.registry import (
    MINIATURE,
    MINIATURE_DYNAMICRAFTER,
    MINIATURE_INTERPOLATION,
    known_model,
)

Described = Callable[[str], ModelDescription]
"""What is said about a model; the answer is kept, since many shots of a story name the same."""


@dataclass(frozen=True)
class Cost:
    """Of one part of a job: `count` clips or stills, each of so many frames, pixels and steps."""

    frames: int
    pixels: int
    """Of one frame."""
    steps: int
    count: int = 1

    @property
    def total(self) -> float:
        """All together."""
        return float(self.frames * self.pixels * self.steps * self.count)


@dataclass(frozen=True)
class JobCost:
    """Of a whole job; a story has several parts."""

    parts: tuple[Cost, ...]

    @property
    def frames(self) -> int:
        """Of all parts."""
        return sum(part.frames for part in self.parts)

    @property
    def pixels(self) -> int:
        """Of the largest frame."""
        return max(part.pixels for part in self.parts)

    @property
    def steps(self) -> int:
        """Of the part with the most."""
        return max(part.steps for part in self.parts)

    @property
    def count(self) -> int:
        """Of the part with the most."""
        return max(part.count for part in self.parts)

    @property
    def total(self) -> float:
        """All together."""
        return sum(part.total for part in self.parts)


def cost_of(job: AnyJob, find: Find = find_file) -> JobCost:
    """The cost of a job whose pictures and clips `find` finds.

    Raises InputError for one that is not there, ModelError for a model that nobody knows.
    """
    described = cache(_described)
    match job:
        case DrawJob():
            return JobCost((_drawing(job, described),))
        case AnimateJob() | InterpolateJob() | LoopJob():
            return JobCost((_clip(job, find, described),))
        case EditJob():
            return JobCost(_edit(job, described))
        case StoryJob():
            shots = job.script.shots
            return JobCost(tuple(part for shot in shots for part in _shot(job, shot, described)))
        case EvaluateJob():
            return JobCost(tuple(_scored(clip, find, described) for clip in job.clips))


def _described(name: str) -> ModelDescription:
    """What is said about a model, wherever it is; with `@look` too."""
    known = known_model(name.partition("@")[0])
    if known.folder is None and known.lacks is not None and known.description.title == "unreadable":
        raise ModelError(known.lacks)
    return known.description


def _drawing(job: DrawJob, described: Described) -> Cost:
    says = described(job.model or MINIATURE)
    own = says.drawing.num_inference_steps if says.drawing else says.num_inference_steps
    pixels = (job.height or says.height) * (job.width or says.width)
    return Cost(1, pixels, job.steps or own, job.count)


def _clip(job: Clips, find: Find, described: Described) -> Cost:
    kept = _record(job.from_clip, find)
    still = _record(job.still, find)
    source = find(job.from_clip).path if job.from_clip is not None else None
    is_dynamicrafter = chosen_method(job.method, job.model, source) == DYNAMICRAFTER
    says = described(job.model or _default_model(job, is_dynamicrafter, kept or still))
    settings = kept.settings if kept is not None else {}
    sampling = _sampling(settings) or (_sampling(still.settings) if still is not None else {})
    frames = job.frames or _whole(settings.get("num_frames")) or says.num_frames
    steps = job.steps or _whole(sampling.get("num_inference_steps")) or says.num_inference_steps
    if isinstance(job, InterpolateJob) and job.even_pace is not False and not is_dynamicrafter:
        frames = dense_count(frames)
    if job.time_travel and not is_dynamicrafter:
        start, stop = job.time_travel_window or (0.4, 0.8)
        steps = sum(TimeTravel(repeats=job.time_travel, start=start, stop=stop).times(steps))
    pixels = says.height * says.width
    if job.still is not None and still is not None and not is_dynamicrafter:
        # One that was drawn keeps its size; other pictures are brought to the model's.
        pixels = _pixels(job.still, find)
    return Cost(frames, pixels, steps, job.count)


def _default_model(job: Clips, is_dynamicrafter: bool, record: Provenance | None) -> str:
    if record is not None and (record.kind == "clip" or not is_dynamicrafter):
        return record.model.name
    if not is_dynamicrafter:
        return MINIATURE
    return MINIATURE_DYNAMICRAFTER if isinstance(job, AnimateJob) else MINIATURE_INTERPOLATION


def _edit(job: EditJob, described: Described) -> tuple[Cost, ...]:
    says = described(job.model or MINIATURE)
    pixels, steps = says.height * says.width, job.steps or says.num_inference_steps
    first = Cost(1, pixels, steps, job.count)
    if job.format == "png":
        return (first,)
    clip = Cost(job.frames or MAX_FRAMES, pixels, steps)
    return (clip,) if job.still is not None else (first, clip)


def _shot(job: StoryJob, shot: Shot, described: Described) -> tuple[Cost, ...]:
    defaults = job.script.defaults
    method = chosen_method(_said(shot, defaults, "method"), _said(shot, defaults, "model"), None)
    is_dynamicrafter = method == DYNAMICRAFTER
    ends = shot.last_frame is not None
    other = MINIATURE_INTERPOLATION if ends else MINIATURE_DYNAMICRAFTER
    says = described(_said(shot, defaults, "model") or (other if is_dynamicrafter else MINIATURE))
    size = job.script.size
    pixels = size[0] * size[1] if size is not None else says.height * says.width
    steps = _said(shot, defaults, "steps") or says.num_inference_steps
    frames = _said(shot, defaults, "frames") or says.num_frames
    if ends and not is_dynamicrafter:
        frames = dense_count(frames)
    clip = Cost(frames, pixels, steps)
    return (clip,) if shot.draw is None else (Cost(1, pixels, steps), clip)


def _said(shot: Shot, defaults: Options, name: str) -> Any:
    own = getattr(shot, name)
    return getattr(defaults, name) if own is None else own


def _scored(clip: FileSource, find: Find, described: Described) -> Cost:
    """Scoring looks at each frame once."""
    record = _record(clip, find)
    output = record.output if record is not None else None
    if output is None:
        says = described(MINIATURE)
        return Cost(MAX_FRAMES, says.height * says.width, 1)
    return Cost(output.num_frames, output.height * output.width, 1)


def _record(source: FileSource | None, find: Find) -> Provenance | None:
    """How a picture or clip was made, if it says so."""
    if source is None:
        return None
    path = find(source).path
    try:
        return read_provenance(path)
    except InputError:
        return None


def _sampling(settings: dict[str, Any]) -> dict[str, Any]:
    """Of a record, whose settings have them under the name of the method's own."""
    found = settings.get("sampling") or settings.get("dynamicrafter")
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _pixels(source: FileSource, find: Find) -> int:
    with open_picture(find(source).path) as picture:
        return int(picture.size[0] * picture.size[1])
