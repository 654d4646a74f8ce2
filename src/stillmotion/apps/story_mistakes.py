"""What is wrong with a script, in one sentence that names the shot and the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from reprlib import repr as shortened
from typing import Any

from pydantic import ValidationError

from stillmotion.errors import InputError, ModelError, OutputError, StillmotionError

_OPTION = re.compile(r"(?<!\w)--([a-z][a-z-]*)")
# By pydantic's names of mistakes; {…} are its numbers.
_ALLOWED = {
    "int_type": "give a whole number",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "string_type": "give text, in quotes if it looks like something else",
    "string_too_short": "give text that is not empty, or leave it out",
    "bool_type": "give true or false",
    "literal_error": "it can be {expected}",
    "greater_than_equal": "give a number from {ge} up",
    "greater_than": "give a number above {gt}",
    "less_than_equal": "give a number of at most {le}",
    "less_than": "give a number below {lt}",
    "too_short": "give at least one",
    "list_type": "give a list, each entry after '- '",
    "tuple_type": "give a list, each entry after '- '",
    "model_type": "give fields, each as 'name: value'",
}


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
    name, kind, given = ".".join(map(str, path)), found["type"], _shown(found["input"])
    if kind == "missing":
        said = f"{name} is missing; give it"
    elif kind == "extra_forbidden":
        near = get_close_matches(name, fields[part], n=1) or fields[part]
        said = f"there is no field '{name}'; there is: {', '.join(near)}"
    elif kind == "value_error":
        reason = str(found["ctx"]["error"])
        said = f"{name} is {given}; {reason}" if name else reason
    else:
        numbers = {key: str(value).replace("'", "") for key, value in found.get("ctx", {}).items()}
        allowed = _ALLOWED.get(kind, found["msg"][:1].lower() + found["msg"][1:])
        said = f"{name or 'it'} is {given}; {allowed.format(**numbers)}"
    return f"{place}: {said}."


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


def _shown(value: object) -> str:
    """A value much as it is written in YAML, shortened if it is long."""
    if value is None or isinstance(value, bool):
        return {None: "empty", False: "false", True: "true"}[value]
    return shortened(value) if isinstance(value, (str, list, dict)) else str(value)
