"""The record of a clip, complete enough to make it again, and the way back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from stillmotion.adapters.diffusers_sites import is_motion_parameter
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SpeedSettings
from stillmotion.errors import InputError
from stillmotion.jobs.pictures import Picture
from stillmotion.media.provenance import (
    InputIdentity,
    ModelIdentity,
    Provenance,
    StillRecipe,
    fingerprint_pixels,
)
from stillmotion.media.still import Still
from stillmotion.models.fingerprint import fingerprint

End = Literal["open", "still", "loop"]
LAST_FRAME = "last_frame"
"""Role of the last frame among the inputs of a record."""
STORY = "story"
"""Method of a film of several shots."""


class GuideRecord(BaseModel):
    """What the frames of an edited clip followed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control: str
    scale: float
    start: int
    stride: int
    source: str
    """Name of the clip that was edited."""
    maps: str
    """sha256 of the control maps' pixels."""
    controlnet: str
    """sha256 over the ControlNet's weights."""


class ClipRecipe(BaseModel):
    """The `settings` of a clip's record: all that decides its frames, with prompt and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_frames: int
    sampling: SamplingSettings
    control: AnimateZeroSettings
    fps: float
    scale: int
    photograph: bool
    """Whether the still was animated without latents of its own drawing."""
    last_photograph: bool = False
    """The same of the last frame, if it is another still."""
    motion_fingerprint: str
    """Of the motion modules, which the model's fingerprint leaves out: it is that of stills."""
    prompts: dict[int, str] | None = None
    """Texts by frame, if the text changes along the clip."""
    end: End = "open"
    """Whether the last frame is given too: another still, or the first again."""
    seamless: bool = False
    """Whether a loop's last frame was left out."""
    photographs: PhotographSettings = Field(default_factory=PhotographSettings)
    ingredients: dict[str, JsonValue] = Field(default_factory=dict)
    """Files that were put into the model, by their names."""
    guide: GuideRecord | None = None
    speed: dict[str, JsonValue] | None = None
    """Shortcuts that were taken, see `SpeedSettings.record`; no part of an exact clip's record."""

    @classmethod
    def from_record(cls, record: Provenance, source: Path) -> ClipRecipe:
        """Raises InputError if the record is not one that this command wrote."""
        try:
            return cls.model_validate(record.settings)
        except ValidationError as error:
            raise InputError(_damaged(source, error)) from error


def recorded_sampling(
    settings: Mapping[str, Any], source: Path
) -> tuple[SamplingSettings, SpeedSettings]:
    """The settings with which the still of a clip was drawn; InputError if they are none."""
    own = {name: value for name, value in settings.items() if name != "speed"}
    try:
        return SamplingSettings(**own), SpeedSettings.from_record(settings.get("speed"))
    except TypeError as error:
        raise InputError(f"the record in '{source}' is damaged: {error}") from error


def clip_provenance(
    model: LoadedModel,
    recipe: ClipRecipe,
    *,
    prompt: str,
    seed: int,
    still: Picture,
    last: Picture | None,
) -> Provenance:
    """The record of a clip, from which the same can be made again."""
    inputs = [_identity("still", still)]
    if recipe.end == "still" and last is not None:
        inputs.append(_identity(LAST_FRAME, last))
    return Provenance(
        kind="clip",
        method="animatediff" if is_plain_animatediff(recipe.control) else "animatezero",
        prompt=prompt,
        negative_prompt=recipe.sampling.negative_prompt,
        seed=seed,
        model=ModelIdentity(name=model.name, fingerprint=model.pipeline.model_fingerprint),
        settings=recipe.model_dump(mode="json", exclude=_left_out(recipe)),
        inputs=tuple(inputs),
        # A still that followed a guide cannot be drawn again without it.
        still=_still_recipe(still.still) if recipe.guide is None else None,
    )


def _identity(role: str, picture: Picture) -> InputIdentity:
    return InputIdentity(role=role, sha256=fingerprint_pixels(picture.given), name=picture.name)


def refuse_film(record: Provenance, source: Path) -> None:
    """Raises InputError for the record of a film: no single still was animated for it."""
    if record.method == STORY:
        raise InputError(
            f"'{source}' was made by `stillmotion story` from several shots; run that command "
            "again with its script, or give one of the shots, which it keeps beside the film."
        )


def motion_fingerprint(model: LoadedModel) -> str:
    """sha256 over the motion modules."""
    return fingerprint({"unet": model.pipeline.unet}, include=is_motion_parameter)


def is_plain_animatediff(control: AnimateZeroSettings) -> bool:
    """Whether nothing of the still enters and no attention is changed."""
    return not (control.insert_latents or control.share_keys_values or control.window != "off")


def _left_out(recipe: ClipRecipe) -> set[str]:
    """What an exact clip's record does not say."""
    return {"speed"} if recipe.speed is None else set()


def _still_recipe(still: Still) -> StillRecipe | None:
    if still.latents is None or still.seed is None or still.settings is None:
        return None
    speed = still.speed.record()
    return StillRecipe(
        prompt=still.prompt,
        negative_prompt=still.settings.negative_prompt,
        seed=still.seed,
        settings=asdict(still.settings) | ({} if speed is None else {"speed": speed}),
    )


def _damaged(source: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    return (
        f"the record in '{source}' is damaged or was written by another version of stillmotion "
        f"({where}: {first['msg']})"
    )
