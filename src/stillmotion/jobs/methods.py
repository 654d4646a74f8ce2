"""Which method animates a picture, and which options are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillmotion.errors import InputError, ModelError
from stillmotion.jobs.model import Clips

ANIMATEZERO, DYNAMICRAFTER = METHODS = ("animatezero", "dynamicrafter")
SHARED = frozenset(
    {
        "output", "still", "prompt", "source", "method", "count", "frames", "fps", "scale", "seed",
        "last_frame", "loop", "seamless", "steps", "guidance", "negative", "model", "device",
        "memory", "download", "force", "as_json", "quiet", "kind", "schema_version", "from_clip",
        "format", "speed",
    }
)  # fmt: skip
"""Options of `animate` that both methods have, by the names of its parameters, and of a job."""
DYNAMICRAFTERS_OWN = (
    "frame_stride", "conditioning_fps", "image_guidance", "guidance_rescale", "eta",
    "start_timestep", "exact_first_frame", "gate_scale",
)  # fmt: skip
_OTHERWISE_NAMED = {"row": "ablation"}


def chosen_method(said: str | None, model: str | None, source: Path | None) -> str:
    """What was said, else what the model is made for, else what the clip was made by.

    Raises InputError for a method that there is not.
    """
    if said is not None:
        if said not in METHODS:
            raise InputError(f"--method is '{said}'; it can be {' or '.join(METHODS)}.")
        return said
    if model is not None:
        return DYNAMICRAFTER if _is_dynamicrafter(model) else ANIMATEZERO
    if source is not None and source.exists():
        from stillmotion.media.clips import read_provenance  # heavy: only where it is needed

        if read_provenance(source).method == DYNAMICRAFTER:
            return DYNAMICRAFTER
    return ANIMATEZERO


def refuse_options(method: str, others: Mapping[str, object]) -> None:
    """Raises InputError if any of `others`, options that the method does not have, was given."""
    for name, value in others.items():
        was_given = value is not None and value is not False and value not in ([], (), {})
        if was_given:
            option = _OTHERWISE_NAMED.get(name, name).replace("_", "-")
            raise InputError(f"--{option} is not an option of {method}; leave it out.")


def refuse_fields(method: str, job: Clips) -> None:
    """Raises InputError if a job says what its method does not have."""
    names = [name for name in type(job).model_fields if name not in SHARED]
    foreign = [n for n in names if (n in DYNAMICRAFTERS_OWN) != (method == DYNAMICRAFTER)]
    refuse_options(method, {name: getattr(job, name) for name in foreign})


def _is_dynamicrafter(model: str) -> bool:
    from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
    from stillmotion.models.registry import pipeline_class, resolve_model

    try:
        return pipeline_class(resolve_model(model).path) == DYNAMICRAFTER_PIPELINE
    except ModelError:
        return False  # whoever loads it says what is wrong
