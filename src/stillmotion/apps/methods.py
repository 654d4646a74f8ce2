"""Which method animates a picture, and which options are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillmotion.errors import InputError, ModelError

ANIMATEZERO, DYNAMICRAFTER = METHODS = ("animatezero", "dynamicrafter")
_PIPELINE = "DynamiCrafterPipeline"


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
    """Raises InputError if any of `others`, options of the other method by name, was given."""
    for option, value in others.items():
        was_given = value is not None and value is not False and value != []
        if was_given:
            raise InputError(f"{option} is not an option of {method}; leave it out.")


def _is_dynamicrafter(model: str) -> bool:
    from stillmotion.models.registry import pipeline_class, resolve_model

    try:
        return pipeline_class(resolve_model(model).path) == _PIPELINE
    except ModelError:
        return False  # whoever loads it says what is wrong
