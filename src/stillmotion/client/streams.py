"""Server-sent events, as the HTML standard defines their lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event of a job: its number, its kind, and what it says."""

    number: int | None
    kind: str
    data: dict[str, Any]


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Events out of the lines of a stream; comments and unknown fields are passed over.

    An event whose end never came is left out, as the standard asks.
    """
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name:
                fields[name] = value
            continue
        if data:
            number = fields.get("id", "")
            yield Event(
                int(number) if number.isdecimal() else None,
                fields.get("event", "message"),
                json.loads("\n".join(data)),
            )
        fields, data = {}, []
