"""What is wrong with a value that people wrote, in one sentence that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from reprlib import repr as shortened

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stillmotion.errors import InputError

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
    "dict_type": "give fields, each as 'name: value'",
}


class FieldError(InputError):
    """A field of a job that cannot be used."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field
        """Its name, with dots between those of nested fields; empty for the job as a whole."""


def said_of(found: ErrorDetails, name: str, known: Sequence[str]) -> str:
    """`frames is 'many'; give a whole number`, of one of pydantic's mistakes.

    `name`: of the field; `known`: the names that there are beside it.
    """
    kind, given = found["type"], shown(found["input"])
    if kind == "missing":
        return f"{name} is missing; give it"
    if kind == "extra_forbidden":
        near = get_close_matches(name, known, n=1) or known
        return f"there is no field '{name}'; there is: {', '.join(near)}"
    if kind == "value_error":
        reason = str(found["ctx"]["error"])
        return f"{name} is {given}; {reason}" if name else reason
    numbers = {key: str(value).replace("'", "") for key, value in found.get("ctx", {}).items()}
    what = f"{name or 'it'} is {given}"
    if kind in _ALLOWED:
        return f"{what}; {_ALLOWED[kind].format(**numbers)}"
    return f"{what}; {found['msg'][:1].lower()}{found['msg'][1:]}"


def field_error(error: ValidationError, fields: Mapping[str, Sequence[str]]) -> FieldError:
    """The first mistake in a job; `fields` are those of each kind."""
    found = error.errors(include_url=False)[0]
    path = [str(part) for part in found["loc"]]
    kind = path.pop(0) if path and path[0] in fields else ""
    if found["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return FieldError("kind", f"kind is not one that there is; it can be {', '.join(fields)}.")
    name = ".".join(path)
    known = fields.get(kind, ()) if len(path) == 1 else ()
    return FieldError(name, f"{said_of(found, name, known)}.")


def shown(value: object) -> str:
    """A value much as it is written in YAML, shortened if it is long."""
    if value is None or isinstance(value, bool):
        return {None: "empty", False: "false", True: "true"}[value]
    return shortened(value) if isinstance(value, (str, list, dict)) else str(value)
