"""Fields that several kinds of job have: the options of the commands, in the same words.

`None` is what is left open: then the record of the picture or clip says it, or the model.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from stillmotion.diffusion.speed import SpeedName
from stillmotion.jobs.sources import FileSource, Source
from stillmotion.models.registry import MINIATURE

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Field(ge=1)]
FromZero = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
DrawingModel = Annotated[
    Text | None, BeforeValidator(lambda said: MINIATURE if said is None else said)
]
"""The model of jobs for which no record says one: left open, it is the miniature."""
MAX_FRAMES = 64
"""Of a longer clip that is edited so many frames are taken, unless another number is said."""
ClipFormat = Literal["mp4", "webm", "gif", "webp", "safetensors", "frames"]
"""Of a clip: `frames` is a folder of PNG frames; `safetensors` has the latents too."""
MemoryPlan = Literal["auto", "full", "lean", "small", "tiny"]


class Weights(BaseModel):
    """Something that a job names and that is made of weights."""

    model_config = ConfigDict(frozen=True)

    field: str
    reference: str
    """A model's name, a hub id, or a file or folder on the machine that makes the job."""


class Part(BaseModel):
    """Frozen, strict about types, and without fields of other names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, serialize_by_alias=True
    )


class TextAt(Part):
    """What happens at a frame; between two of them the meaning changes gradually."""

    frame: FromZero
    text: Text


class JobFields(Part):
    """What every job has."""

    schema_version: Literal[1] = 1
    weight_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that name weights: text, or a list of texts."""

    def sources(self) -> list[tuple[str, FileSource]]:
        """Every picture and clip that goes in, with the name of its field."""
        found = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if isinstance(value, dict):
                values = tuple(value.values())
            found += [(name, one) for one in values if isinstance(one, FileSource)]
        return found

    def weights(self) -> list[Weights]:
        """Every model and file of weights that the job names."""
        found = []
        for name in self.weight_fields:
            value = getattr(self, name)
            references = (value,) if isinstance(value, str) else value or ()
            found += [Weights(field=name, reference=one) for one in references]
        return found

    def changed(self, **changes: Any) -> Any:
        """The same job with other values, checked anew.  Raises as pydantic does."""
        return type(self).model_validate({**dict(self), **changes})


class Sampled(JobFields):
    """Jobs of a denoising model."""

    weight_fields: ClassVar[tuple[str, ...]] = ("model",)

    prompt: str | None = None
    model: Text | None = None
    """A name that `stillmotion models` lists, a folder in diffusers' layout, or a hub id."""
    look: Text | None = None
    seed: Seed | None = None
    """None: one is chosen by chance when the job is made, and told."""
    count: Count = 1
    """How many, each with the next seed."""
    steps: Count | None = None
    guidance: NotNegative | None = None
    negative: str | None = None
    speed: SpeedName | None = None
    """An approximation that saves time; None is exact, or what the record of a clip says."""


class WithIngredients(Sampled):
    """Jobs that take files into the model (`.safetensors`)."""

    weight_fields: ClassVar[tuple[str, ...]] = (
        "model", "checkpoint", "vae", "motion", "lora", "motion_lora", "embedding", "ip_adapter",
    )  # fmt: skip

    checkpoint: Text | None = None
    vae: Text | None = None
    motion: Text | None = None
    lora: Texts = ()
    """FILE or FILE:WEIGHT."""
    motion_lora: Texts = ()
    embedding: Texts = ()
    ip_adapter: Text | None = None
    """FILE or FILE:SCALE."""
    ip_image: Source | None = None
    scheduler: Literal["ddim", "dpm++", "euler", "euler-trailing", "lcm"] | None = None
    clip_skip: FromZero | None = None
