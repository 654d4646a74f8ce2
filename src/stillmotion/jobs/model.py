"""A job: everything that decides what is made, and nothing else.

The command line, Python, HTTP and the pages build the same model; where the result goes, on which
device it is made and who wants it is said beside it.  The same job with the same seed gives the
same bytes.

    job = parse_job({"kind": "draw", "prompt": "a red balloon over green hills", "seed": 7})
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from stillmotion.jobs.fields import (
    ClipFormat,
    Count,
    DrawingModel,
    FromZero,
    JobFields,
    MemoryPlan,
    NotNegative,
    Sampled,
    Share,
    Text,
    TextAt,
    Weights,
    WithIngredients,
)
from stillmotion.jobs.mistakes import field_error
from stillmotion.jobs.sources import FileSource, Source
from stillmotion.jobs.story_script import Story
from stillmotion.models.registry import MINIATURE

SCHEMA_VERSION = 1
SEED_RANGE = 2**31
"""Seeds that are chosen by chance are below it."""


class DrawJob(WithIngredients):
    """Draw stills from a text; with each still its latents are kept."""

    kind: Literal["draw"] = "draw"
    prompt: str
    model: DrawingModel = MINIATURE
    height: Count | None = None
    width: Count | None = None


class _ClipJob(WithIngredients):
    """What `stillmotion animate` can be told, but for the end of the clip."""

    still: Source | None = None
    """A still, with its latents beside it, or any picture."""
    from_clip: Source | None = None
    """Make this clip again, from the record that it carries; other fields change it."""
    method: Literal["animatezero", "dynamicrafter"] | None = None
    format: ClipFormat = "mp4"
    frames: Count | None = None
    fps: Annotated[float, Field(gt=0)] | None = None
    scale: Count | None = None
    memory: MemoryPlan = "auto"
    even_pace: bool | None = None
    towards: str | None = None
    prompt_at: Annotated[tuple[TextAt, ...], Field(strict=False)] = ()
    motion_strength: Annotated[float, Field(ge=0, le=2)] | None = None
    drift_correction: bool | None = None
    time_travel: FromZero | None = None
    time_travel_window: Annotated[tuple[int | float, int | float], Field(strict=False)] | None = (
        None
    )
    """Numbers of steps (whole), or shares of all (with a point)."""
    photograph: bool = False
    trajectory: Literal["inversion", "diffusion"] | None = None
    first_frame: Literal["photograph", "reconstruction"] | None = None
    fit: Literal["cover", "pad"] | None = None
    row: Literal["a", "b", "c", "d", "e"] | None = None
    """Of the paper's Fig. 6: the option --ablation."""
    insert_latents: bool | None = None
    share_kv: bool | None = None
    kv_source: Literal["video", "still"] | None = None
    window: Literal["off", "uncorrected", "corrected"] | None = None
    window_blocks: (
        Annotated[tuple[Literal["down", "mid", "up"], ...], Field(strict=False)] | None
    ) = None
    query_position: Literal["last", "own"] | None = None
    frame_norm: Literal["per_frame", "across_frames"] | None = None
    window_length: Count | None = None
    frame_stride: Count | None = None
    conditioning_fps: Count | None = None
    image_guidance: NotNegative | None = None
    guidance_rescale: Share | None = None
    eta: Share | None = None
    start_timestep: FromZero | None = None
    exact_first_frame: bool = False
    gate_scale: dict[str, float] = Field(default_factory=dict)
    """Factors by layer, a number or name of `stillmotion inspect gates`."""

    @model_validator(mode="after")
    def _something_to_animate(self) -> _ClipJob:
        if self.still is None and self.from_clip is None:
            raise ValueError("there is nothing to animate: give still, or a clip as from_clip")
        return self


class AnimateJob(_ClipJob):
    """Animate a still; how the clip ends is open."""

    kind: Literal["animate"] = "animate"


class InterpolateJob(_ClipJob):
    """Animate a still so that the clip ends with another picture."""

    kind: Literal["interpolate"] = "interpolate"
    last_frame: Source


class LoopJob(_ClipJob):
    """Animate a still so that the clip ends with it again."""

    kind: Literal["loop"] = "loop"
    seamless: bool = False
    """Leave out the last frame, which is the first again."""


class EditJob(Sampled):
    """Draw a clip anew after a text: its edges or depth stay, all else may change."""

    kind: Literal["edit"] = "edit"
    weight_fields: ClassVar[tuple[str, ...]] = ("model", "controlnet", "depth_model")

    clip: Source
    prompt: str
    model: DrawingModel = MINIATURE
    still: Source | None = None
    """The first frame, drawn before by such a job in the format `png`."""
    format: ClipFormat | Literal["png"] = "mp4"
    """`png` asks for first frames alone, `count` of them."""
    control: Literal["edges", "depth", "given"] = "edges"
    controlnet: Text | None = None
    depth_model: Text | None = None
    control_scale: NotNegative = 1.0
    frames: Count | None = None
    start: FromZero = 0
    stride: Count = 1
    fps: Annotated[float, Field(gt=0)] | None = None
    scale: Count | None = None
    animatediff: bool = False
    memory: MemoryPlan = "auto"


class StoryJob(JobFields):
    """Make a film of several shots."""

    kind: Literal["story"] = "story"
    script: Story
    pictures: dict[str, Source] = Field(default_factory=dict)
    """What the script calls `image` and `last_frame`, by the names it has for them."""
    format: ClipFormat = "mp4"
    memory: MemoryPlan = "auto"

    def weights(self) -> list[Weights]:
        """Every model that a shot or the defaults name."""
        parts = [("defaults", self.script.defaults)]
        parts += [(f"shots.{index}", shot) for index, shot in enumerate(self.script.shots)]
        named = [
            (f"script.{place}.{name}", getattr(part, name))
            for place, part in parts
            for name in ("model", "drawing_model")
        ]
        return [Weights(field=f, reference=value) for f, value in named if value is not None]


class EvaluateJob(JobFields):
    """Score clips against the picture that they were to begin with, by the package's metrics."""

    kind: Literal["evaluate"] = "evaluate"
    clips: Annotated[tuple[Source, ...], Field(min_length=1, strict=False)]
    still: Source
    last_frame: Source | None = None
    """What the clips were to end with."""
    prompt: str = ""


Clips = AnimateJob | InterpolateJob | LoopJob
Job = Annotated[
    DrawJob | AnimateJob | InterpolateJob | LoopJob | EditJob | StoryJob | EvaluateJob,
    Field(discriminator="kind"),
]
AnyJob = DrawJob | AnimateJob | InterpolateJob | LoopJob | EditJob | StoryJob | EvaluateJob
"""The same without its marks, for the types of functions."""
KINDS: Mapping[str, type[AnyJob]] = {
    "draw": DrawJob,
    "animate": AnimateJob,
    "interpolate": InterpolateJob,
    "loop": LoopJob,
    "edit": EditJob,
    "story": StoryJob,
    "evaluate": EvaluateJob,
}
_JOB: TypeAdapter[AnyJob] = TypeAdapter(Job)
_FIELDS = {kind: tuple(model.model_fields) for kind, model in KINDS.items()}


def parse_job(content: Mapping[str, Any] | str | bytes) -> AnyJob:
    """A job from its fields, or from JSON.

    Raises FieldError, an InputError that names the field, for whatever is not a job.
    """
    try:
        if isinstance(content, str | bytes):
            return _JOB.validate_json(content)
        return _JOB.validate_python(dict(content))
    except ValidationError as error:
        raise field_error(error, _FIELDS) from error


def job_json(job: AnyJob) -> str:
    """The canonical form: one line of ASCII, keys sorted, fields with their defaults left out."""
    told = job.model_dump(mode="json", exclude_defaults=True)
    told |= {"kind": job.kind, "schema_version": SCHEMA_VERSION}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)


def job_schema() -> dict[str, Any]:
    """JSON schema of all jobs."""
    return _JOB.json_schema()


def local_paths(job: AnyJob) -> list[tuple[str, FileSource]]:
    """Sources that are paths on this machine: what no client elsewhere may name."""
    return [(field, source) for field, source in job.sources() if source.path is not None]


def settled(job: AnyJob) -> AnyJob:
    """The job with a seed chosen by chance, if it has none and no record will say one.

    So a job that is made again, after a failure or elsewhere, gives the same.
    """
    if isinstance(job, StoryJob | EvaluateJob) or job.seed is not None:
        return job
    if isinstance(job, _ClipJob) and job.from_clip is not None:
        return job
    chosen: AnyJob = job.changed(seed=secrets.randbelow(SEED_RANGE))
    return chosen
