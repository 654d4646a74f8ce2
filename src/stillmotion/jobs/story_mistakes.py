"""What is wrong with a script, in one sentence that names the shot and the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from stillmotion.errors import InputError, ModelError, OutputError, StillmotionError
from stillmotion.jobs.mistakes import said_of

_OPTION = re.compile(r"(?<!\w)--([a-z][a-z-]*)")


def shot_label(number: int, title: str | None) -> str:
    """`shot 2 'The storm'`."""
    return f"shot {number}" if title is None else f"shot {number} '{' '.join(title.split())}'"


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Say of errors inside which shot they are about, and in the words of scripts."""
    try:
        yield
    except StillmotionError as error:
        kinds = (InputError, ModelError, OutputError)
        kind = next((kind for kind in kinds if isinstance(error, kind)), InputError)
        raise kind(f"{label}: {in_script_words(str(error))}") from error


def in_script_words(sentence: str) -> str:
    """`--last-frame` -> `last_frame`: what options are to commands, fields are to scripts."""
    return _OPTION.sub(lambda found: found[1].replace("-", "_"), sentence)


def first_mistake(
    error: ValidationError, content: Mapping[str, Any], fields: Mapping[str, Sequence[str]]
) -> str:
    """`shot 2 'The storm': frames is 'many'; give a whole number.`

    `fields`: the names that there are of the film, of `defaults` and of one of the `shots`.
    """
    found = error.errors(include_url=False)[0]
    place, part, path = _place(list(found["loc"]), content)
    name = ".".join(map(str, path))
    return f"{place}: {said_of(found, name, fields[part])}."


def _place(path: list[Any], content: Mapping[str, Any]) -> tuple[str, str, list[Any]]:
    """Where a mistake is: in words, as a part of the script, and the field there."""
    if len(path) >= 2 and path[0] == "shots" and isinstance(path[1], int):
        shot = content["shots"][path[1]]
        title = shot.get("title") if isinstance(shot, dict) else None
        label = shot_label(path[1] + 1, title if title and isinstance(title, str) else None)
        return label, "shots", path[2:]
    if path[:1] == ["defaults"]:
        return "defaults", "defaults", path[1:]
    return "the film", "film", path
