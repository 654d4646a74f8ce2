"""The script of `stillmotion story`: what may stand in it, and what is wrong with one.

Names of options are those of `stillmotion animate`, with _ for -.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from stillmotion.diffusion.speed import SpeedName
from stillmotion.errors import InputError
from stillmotion.jobs.fields import Count, NotNegative, Part, Share, Text
from stillmotion.jobs.story_mistakes import first_mistake
from stillmotion.jobs.story_yaml import read_yaml
from stillmotion.media.fit import Size
from stillmotion.media.transitions import CUT, Transition


def _transition(said: Any) -> Transition:
    """`cut`, or `{crossfade: 8}`, or `{fade: 8}`."""
    if isinstance(said, Transition):
        return said
    if said == CUT.kind:
        return CUT
    if isinstance(said, dict) and len(said) == 1:
        [(kind, count)] = said.items()
        is_count = isinstance(count, int) and not isinstance(count, bool) and count >= 1
        if kind in ("crossfade", "fade") and is_count:
            return Transition(kind, count)
    raise ValueError("give cut, {crossfade: FRAMES} or {fade: FRAMES}, with 1 frame or more")


def _as_said(transition: Transition) -> str | dict[str, int]:
    """The way back from `_transition`."""
    return CUT.kind if transition == CUT else {transition.kind: transition.num_frames}


_FRAMES = {"type": "integer", "minimum": 1}
_TRANSITION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"const": "cut", "type": "string"},
        *(
            {
                "type": "object",
                "properties": {kind: _FRAMES},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind in ("crossfade", "fade")
        ),
    ]
}
SaidTransition = Annotated[
    Transition,
    BeforeValidator(_transition),
    PlainSerializer(_as_said),
    WithJsonSchema(_TRANSITION_SCHEMA),
]


class Options(Part):
    """What a shot may say and `defaults` may say for it; None is what was left open."""

    method: Literal["animatezero", "dynamicrafter"] | None = None
    model: Text | None = None
    look: Text | None = None
    drawing_model: Text | None = None
    """What draws the still of a shot that another method animates."""
    frames: Count | None = None
    steps: Count | None = None
    guidance: NotNegative | None = None
    negative: str | None = None
    speed: SpeedName | None = None
    transition: SaidTransition | None = None
    photograph: bool | None = None
    motion_strength: Annotated[float, Field(ge=0, le=2)] | None = None
    frame_stride: Count | None = None
    conditioning_fps: Count | None = None
    image_guidance: NotNegative | None = None
    guidance_rescale: Share | None = None
    eta: Share | None = None
    start_timestep: Annotated[int, Field(ge=0)] | None = None
    exact_first_frame: bool | None = None
    gate_scale: Annotated[tuple[Text, ...], Field(strict=False)] | None = None


class Shot(Options):
    """One shot: where its first frame comes from, and what happens."""

    title: Text | None = None
    image: Text | None = None
    """A picture, relative to the script."""
    draw: Text | None = None
    """The text of a still that is drawn for it."""
    continues: bool = Field(default=False, alias="continue")
    """Whether it begins with the last frame of the shot before."""
    prompt: Text | None = None
    """What happens."""
    last_frame: Text | None = None
    """A picture to end with, relative to the script."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Shot:
        beginnings = (self.image is not None, self.draw is not None, self.continues)
        if sum(beginnings) != 1:
            raise ValueError("give exactly one of image, draw and 'continue: true'")
        if self.continues and self.prompt is None:
            raise ValueError("it continues the shot before; say with prompt what happens now")
        return self


class Story(Part):
    """A whole script."""

    title: Text | None = None
    fps: Annotated[float, Field(gt=0)] = 8.0
    width: Count | None = None
    """Of the film in pixels, together with `height`; None means that of the first shot."""
    height: Count | None = None
    scale: Count = 1
    """Each pixel of the film is enlarged to as many by as many."""
    seed: Annotated[int, Field(ge=0, lt=2**62)] = 0
    """Shot n has `seed` + n - 1, unless it has its own."""
    defaults: Options = Options()
    """For the shots that can have them."""
    shots: Annotated[tuple[Shot, ...], Field(min_length=1, strict=False)]

    @property
    def size(self) -> Size | None:
        """Height and width of the film in pixels, if they are said."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    @model_validator(mode="after")
    def _whole_size(self) -> Story:
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together; give both, or neither")
        return self


def read_script(path: Path) -> Story:
    """Raises InputError, with the shot and the field, if the file is not a script."""
    return parse_script(read_yaml(path), f"'{path}'")


def parse_script(content: Any, name: str) -> Story:
    """The script in the content of a YAML file; sentences call it `name`.

    Raises InputError, with the shot and the field, for what is not a script.
    """
    if not isinstance(content, dict):
        raise InputError(f"{name} is not a script of shots; it needs 'shots:' and a list.")
    try:
        return Story.model_validate(content)
    except ValidationError as error:
        fields = {"film": _names(Story), "defaults": _names(Options), "shots": _names(Shot)}
        raise InputError(f"{name}, {first_mistake(error, content, fields)}") from error


def _names(part: type[Part]) -> list[str]:
    return [field.alias or name for name, field in part.model_fields.items()]
