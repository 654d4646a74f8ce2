"""What a form says, as jobs; what is wrong with it, as a sentence and the field it is about.

Nothing here knows of the page: values come as a dictionary from names of a job's fields, `None` or
empty for what was left open, and a few names of the studio's own: `still_id`, `end`, `end_id`,
`clip_id`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args

from stillmotion.errors import InputError
from stillmotion.jobs.fields import ClipFormat
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.jobs.story_script import parse_script
from stillmotion.jobs.story_yaml import parse_yaml

Values = Mapping[str, Any]
End = Literal["open", "loop", "seamless", "picture"]
ENDS: tuple[End, ...] = get_args(End)
FORMATS: tuple[str, ...] = get_args(ClipFormat)
MAX_COUNT = 16
"""Stills or variants that one press of a button asks for."""
CHOOSE_FIRST = "Choose a still first: draw one in step 1, or drop in a picture."
CHOOSE_END = "Choose the picture that the clip is to end with, or another end."
CHOOSE_CLIP = "Drop in a clip first, or choose one of your own in the history."
_SCRIPT = "the script"
_SCRIPT_PICTURES = {"still": "still_id", "end": "end_id"}
"""Pictures that a script can name, and where the form has their ids."""
_MAX_SEED = 2**63 - 1
_SEED_RANGE = 2**31
_DRAW_FIELDS = (
    "prompt", "model", "look", "steps", "guidance", "negative", "speed", "height", "width",
)  # fmt: skip
_CLIP_FIELDS = (
    "prompt", "model", "look", "steps", "guidance", "negative", "speed", "frames", "fps", "format",
    "scale",
)  # fmt: skip
_ANIMATE_FIELDS = (
    "motion_strength", "time_travel", "drift_correction", "photograph", "fit", "first_frame",
    "towards",
)  # fmt: skip
_DYNAMICRAFTER_FIELDS = (
    "conditioning_fps", "frame_stride", "image_guidance", "guidance_rescale", "eta",
    "exact_first_frame",
)  # fmt: skip
_EDIT_FIELDS = (
    "prompt", "model", "look", "steps", "guidance", "negative", "control", "control_scale",
    "controlnet", "depth_model", "frames", "start", "stride", "fps", "scale", "speed", "format",
    "animatediff",
)  # fmt: skip
_NUMBERS = frozenset(
    {
        "seed", "count", "steps", "guidance", "width", "height", "frames", "fps", "scale",
        "motion_strength", "time_travel", "frame_stride", "conditioning_fps", "image_guidance",
        "guidance_rescale", "eta", "start", "stride", "control_scale",
    }
)  # fmt: skip
"""Fields that people write numbers into, as text."""
EDITABLE = (
    "prompt", "seed", "steps", "guidance", "negative", "frames", "fps", "motion_strength", "format",
)  # fmt: skip
"""Fields that a waiting job's form offers, as far as its kind has them."""


def draw_jobs(values: Values) -> tuple[AnyJob, ...]:
    """One job for each still, so that they appear one after the other; seeds count up.

    Raises FieldError.
    """
    content = {"kind": "draw", **_taken(values, _DRAW_FIELDS)}
    if not str(content.get("prompt", "")).strip():
        raise FieldError("prompt", "Say what the still is to show.")
    return _seeded(content, values)


def animate_jobs(values: Values) -> tuple[AnyJob, ...]:
    """One job for each variant of a clip by AnimateZero.  Raises FieldError."""
    content = _clip_content(values) | _taken(values, _ANIMATE_FIELDS)
    texts = texts_at(values.get("prompt_at") or "")
    if texts:
        content["prompt_at"] = texts
    return _seeded(content, values)


def dynamicrafter_jobs(values: Values) -> tuple[AnyJob, ...]:
    """One job for each variant of a clip by DynamiCrafter.  Raises FieldError."""
    content = _clip_content(values) | _taken(values, _DYNAMICRAFTER_FIELDS)
    if not content.get("exact_first_frame"):
        content.pop("exact_first_frame", None)
    return _seeded(content | {"method": "dynamicrafter"}, values)


def edit_jobs(values: Values, *, stills: bool) -> tuple[AnyJob, ...]:
    """First frames for a clip that is drawn anew (`stills`), or the clip itself.

    `still_id`: one of those first frames, or empty.  Raises FieldError.
    """
    if not values.get("clip_id"):
        raise FieldError("clip_id", CHOOSE_CLIP)
    content = {
        "kind": "edit",
        "clip": {"artifact": values["clip_id"]},
        **_taken(values, _EDIT_FIELDS),
    }
    if not str(content.get("prompt", "")).strip():
        raise FieldError("prompt", "Say what the new clip is to show.")
    if not content.get("animatediff"):
        content.pop("animatediff", None)
    if stills:
        content["format"] = "png"
    elif values.get("still_id"):
        content["still"] = {"artifact": values["still_id"]}
    return _seeded(content, values)


def story_jobs(values: Values) -> tuple[AnyJob, ...]:
    """The job of a script; `still` and `end` in it are the pictures that were chosen.

    Raises FieldError.
    """
    written = str(values.get("script") or "").encode("utf-8", "replace")
    try:
        script = parse_script(parse_yaml(written, _SCRIPT), _SCRIPT)
    except InputError as error:
        raise FieldError("script", str(error)) from error
    named = [name for shot in script.shots for name in (shot.image, shot.last_frame)]
    pictures = {n: {"artifact": _picture_of_script(values, n)} for n in named if n is not None}
    content = {"kind": "story", "script": script, "pictures": pictures}
    return (parse_job(content | _taken(values, ("format",))),)


def _picture_of_script(values: Values, name: str) -> str:
    if name not in _SCRIPT_PICTURES:
        raise FieldError(
            "script",
            f"{_SCRIPT} names the picture '{name[:60]}'; here it can be 'still', the one chosen in "
            "step 2, or 'end', the one marked with End with it.",
        )
    found = values.get(_SCRIPT_PICTURES[name])
    if not found:
        raise FieldError(
            "script", f"{_SCRIPT} names the picture '{name}', but none is chosen; choose one."
        )
    return str(found)


def changed_job(job: AnyJob, values: Values) -> AnyJob:
    """A waiting job with what its form says.  Raises FieldError."""
    content = job.model_dump(mode="json", exclude_defaults=True) | {"kind": job.kind}
    for name in editable_values(job):
        content.pop(name, None)
        content |= _taken(values, (name,))
    return parse_job(content)


def editable_values(job: AnyJob) -> dict[str, Any]:
    """What the form of a waiting job shows; only the fields that its kind has."""
    has: dict[str, Any] = {
        name: getattr(job, name) for name in EDITABLE if name in type(job).model_fields
    }
    if has.get("format") == "png":
        del has["format"]  # first frames: as a clip it would be another job
    return has


def texts_at(lines: str) -> list[dict[str, Any]]:
    """`3: a red balloon rising` on each line, as texts at frames.  Raises FieldError."""
    found = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        number, colon, text = line.partition(":")
        if not colon or not number.strip().isdecimal() or not text.strip():
            raise FieldError(
                "prompt_at",
                f"'{line[:60]}' is no text at a frame; write the number of the frame, a colon and "
                "the text, such as '4: a red balloon rising', one on each line.",
            )
        found.append({"frame": int(number), "text": text.strip()})
    return found


def chance_seed() -> int:
    """A seed by chance."""
    return secrets.randbelow(_SEED_RANGE)


def _clip_content(values: Values) -> dict[str, Any]:
    """The still, the end and what both methods can be told."""
    if not values.get("still_id"):
        raise FieldError("still_id", CHOOSE_FIRST)
    end = values.get("end") or "open"
    if end not in ENDS:
        raise FieldError("end", f"The end is '{end}'; it can be {', '.join(ENDS)}.")
    content: dict[str, Any] = {"kind": "animate", "still": {"artifact": values["still_id"]}}
    if end in ("loop", "seamless"):
        content["kind"] = "loop"
        content |= {"seamless": True} if end == "seamless" else {}
    elif end == "picture":
        if not values.get("end_id"):
            raise FieldError("end_id", CHOOSE_END)
        content |= {"kind": "interpolate", "last_frame": {"artifact": values["end_id"]}}
    return content | _taken(values, _CLIP_FIELDS)


def _seeded(content: dict[str, Any], values: Values) -> tuple[AnyJob, ...]:
    count = _number(values.get("count"), "count", 1)
    if not 1 <= count <= MAX_COUNT:
        raise FieldError("count", f"The number is {count}; choose from 1 to {MAX_COUNT}.")
    seed = _number(values.get("seed"), "seed", None)
    seed = chance_seed() if seed is None else seed
    if not 0 <= seed <= _MAX_SEED - count:
        raise FieldError("seed", f"The seed is {seed}; give a whole number from 0 to 2^63 - 1.")
    return tuple(parse_job({**content, "seed": seed + index}) for index in range(count))


def _read_number(text: str) -> Any:
    for make in (int, float):
        with suppress(ValueError):
            return make(text.replace(",", "."))
    return text


def _number(value: Any, field: str, default: Any) -> Any:
    value = _plain(value, field)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise FieldError(field, f"{field} is {value!r}; give a whole number.")
    return value


def _taken(values: Values, names: Sequence[str]) -> dict[str, Any]:
    """The values that were given; the others are left open."""
    plain = {name: _plain(values.get(name), name) for name in names}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any, name: str = "") -> Any:
    """As jobs have it: nothing for empty text, numbers as such; what is none stays for the job's
    own check to refuse."""
    if isinstance(value, str):
        value = value.strip() or None
        return _read_number(value) if value is not None and name in _NUMBERS else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
