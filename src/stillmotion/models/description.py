"""What a model folder says about itself: sizes, defaults and looks, in `stillmotion.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stillmotion.errors import ModelError

FILE_NAME = "stillmotion.json"


class Look(BaseModel):
    """One style of a model: a LoRA beside it and the words that call for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lora: str
    """Path of the LoRA, relative to the model folder."""
    prompt_prefix: str = ""
    """Words put before the prompt when the look is chosen."""


class ModelDescription(BaseModel):
    """Defaults of a model.  Those written here fit Stable Diffusion 1.5 with AnimateDiff v2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    title: str = "Stable Diffusion 1.5 with an AnimateDiff motion module"
    height: int = Field(default=512, gt=0)
    width: int = Field(default=512, gt=0)
    num_frames: int = Field(default=16, gt=0)
    num_inference_steps: int = Field(default=25, gt=0)
    guidance_scale: float = 7.5
    negative_prompt: str = "worst quality, low quality, letterboxed"
    looks: dict[str, Look] = {}
    card: str | None = None
    """Name of the model card in the folder."""


def read_description(folder: Path) -> ModelDescription:
    """The description in `folder`, or the defaults if it has none.

    Raises:
        ModelError: the description is there but not valid.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return ModelDescription()
    try:
        return ModelDescription.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        problem = f"{where}: {first['msg']}"
        raise ModelError(f"{path} is not a valid model description ({problem})") from error
    except ValueError as error:  # no JSON, or no text at all
        raise ModelError(f"{path} is not a valid model description ({error})") from error
