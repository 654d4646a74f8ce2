"""What is said about a model: where its parts come from, sizes, defaults and looks.

A model folder says it in `stillmotion.json`; models that are put together from parts say it in a
description of their own, in the package's catalogue or among the user's models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stillmotion.errors import ModelError

FILE_NAME = "stillmotion.json"
StillTrajectory = Literal["drawn", "diffused"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Look(_Record):
    """One style of a model: a LoRA beside it and the words that call for it."""

    lora: str
    """Path of the LoRA, relative to the model folder."""
    prompt_prefix: str = ""
    """Words put before the prompt when the look is chosen."""


class SchedulerChoice(_Record):
    """A scheduler of diffusers; what `config` leaves open has the class's own value."""

    name: Literal[
        "DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "LCMScheduler"
    ]
    config: dict[str, bool | int | float | str] = {}


class Source(_Record):
    """Where a part comes from: exactly one of `model`, `hub`, `page` and `path`."""

    model: str | None = None
    """Another model, by name, whose part it is."""
    hub: str | None = None
    """A repository of the Hugging Face hub, user/name."""
    revision: str | None = None
    """Its commit; null where none is known to be good: then its newest is taken."""
    page: str | None = None
    """A page in the web from which the user has to fetch it."""
    path: str | None = None
    """A file or folder on this machine."""
    files: dict[str, str | None] = {}
    """The files that are used, with their sha256, null where it is not known.

    Of a hub repository, paths in it: a single one is the part, of several their folder is.
    """
    weight: float = 1.0
    """How strongly a LoRA is mixed in."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Source:
        if sum(x is not None for x in (self.model, self.hub, self.page, self.path)) != 1:
            raise ValueError("give exactly one of model, hub, page and path")
        return self


class Parts(_Record):
    """What a model is put together from; each part replaces that of the base."""

    base: Source
    """A model, or a folder in diffusers' layout: configurations, tokenizer, and weights."""
    checkpoint: Source | None = None
    """One file with U-Net, VAE and text encoder."""
    vae: Source | None = None
    motion: Source | None = None
    loras: tuple[Source, ...] = ()
    """Merged in this order, after those of the base."""


class Drawing(_Record):
    """How stills are drawn where that differs from how clips are made."""

    num_inference_steps: int = Field(gt=0)
    guidance_scale: float
    scheduler: SchedulerChoice


class ModelDescription(_Record):
    """Defaults of a model.  Those written here fit Stable Diffusion 1.5 with AnimateDiff v2."""

    schema_version: Literal[1] = 1
    title: str = "Stable Diffusion 1.5 with an AnimateDiff motion module"
    height: int = Field(default=512, gt=0)
    width: int = Field(default=512, gt=0)
    num_frames: int = Field(default=16, gt=0)
    num_inference_steps: int = Field(default=25, gt=0)
    guidance_scale: float = 7.5
    guidance_rescale: float = Field(default=0.0, ge=0, le=1)
    """How far the contrast that guidance adds is taken back; DynamiCrafter's models know it."""
    negative_prompt: str = "worst quality, low quality, letterboxed"
    prompt_prefix: str = ""
    """Words put before every prompt."""
    clip_skip: int = Field(default=0, ge=0)
    """Last layers of the text encoder that are left out."""
    looks: dict[str, Look] = {}
    card: str | None = None
    """Name of the model card in the folder."""
    latent_rgb: list[list[float]] | None = None
    """How previews show its latents: a row (r, g, b) for each channel and one for the bias, which
    give colours in -1..1; None if there are no previews."""
    parts: Parts | None = None
    """None: everything is in the folder."""
    shared_parts: dict[str, str] = {}
    """Parts that another model has as well, with their paths from this one's folder."""
    scheduler: SchedulerChoice | None = None
    """None: the one in the folder."""
    drawing: Drawing | None = None
    """None: stills are drawn as clips are made."""
    still_trajectory: StillTrajectory = "drawn"
    """Whether frame 1 follows the latents that the still was drawn with, or, as a photograph's
    does, those that noise makes of the finished still."""
    licence: str | None = None
    """None: not known; its source says."""
    notes: str = ""


def read_description(folder: Path) -> ModelDescription:
    """The description in `folder`, or the defaults if it has none.

    Raises:
        ModelError: the description is there but not valid.
    """
    path = folder / FILE_NAME
    return read_description_file(path) if path.is_file() else ModelDescription()


def read_description_file(path: Path) -> ModelDescription:
    """The description in a file.

    Raises:
        ModelError: it cannot be read or is not valid.
    """
    try:
        return ModelDescription.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        problem = f"{where}: {first['msg']}"
        raise ModelError(f"{path} is not a valid model description ({problem})") from error
    except (OSError, ValueError) as error:  # gone, no JSON, or no text at all
        raise ModelError(f"{path} is not a valid model description ({error})") from error
