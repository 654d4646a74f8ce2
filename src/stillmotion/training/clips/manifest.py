"""Manifests: a CSV file with a header, or JSON lines, that lists clips and what is said of them.

    path,caption,fps,licence,start,end
    balloon.mp4,a red balloon rising over green hills,,CC0-1.0,,

Paths are relative to the manifest's folder.  `path` and `caption` are needed, the rest is optional.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from stillmotion.errors import InputError
from stillmotion.training.clips.rows import FIELDS, ClipRow, Problem, parse_row, spelled

MANIFEST_SUFFIXES = (".csv", ".jsonl")
_REQUIRED = ("path", "caption")


def manifest_rows(path: Path) -> Iterator[ClipRow | Problem]:
    """Every row of a manifest, in order, or what is wrong with it; blank lines are passed over.

    Raises InputError if the manifest is missing, is not UTF-8, or has a header with an unknown
    column or without a needed one.
    """
    read = _csv_rows if path.suffix.lower() == ".csv" else _json_rows
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from read(path, stream)
    except OSError as error:
        raise InputError(f"The manifest '{path}' cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The manifest '{path}' is not UTF-8; save it as UTF-8.") from error


def _csv_rows(path: Path, stream: TextIO) -> Iterator[ClipRow | Problem]:
    reader = csv.reader(stream, strict=True)
    line = 1
    try:
        header = [spelled(cell.strip()) for cell in next(reader, [])]
        if wrong := _wrong_names(header):
            raise InputError(f"{_place(path, line)}: {wrong}")
        line = reader.line_num + 1
        for cells in reader:
            where = _place(path, line)
            line = reader.line_num + 1
            if len(cells) == len(header):
                yield _row(path, dict(zip(header, cells, strict=True)), where)
            elif cells:
                yield Problem(
                    where,
                    f"the row has {len(cells)} cells and the header {len(header)}; a caption with "
                    "a comma needs quotation marks around it.",
                )
    except csv.Error as error:
        yield Problem(_place(path, line), f"no CSV from here on: {error}.")


def _json_rows(path: Path, stream: TextIO) -> Iterator[ClipRow | Problem]:
    for line, text in enumerate(stream, 1):
        where = _place(path, line)
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            yield Problem(where, f"no JSON: {error}.")
            continue
        if not isinstance(fields, dict):
            yield Problem(where, 'the line must be an object, such as {"path": "a.mp4", ...}.')
        elif wrong := _wrong_names([spelled(key) for key in fields]):
            yield Problem(where, wrong)
        else:
            yield _row(path, {spelled(key): value for key, value in fields.items()}, where)


def _row(manifest: Path, fields: Mapping[str, object], where: str) -> ClipRow | Problem:
    name = fields["path"]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        return Problem(where, f"path is {name!r}; it must name a clip.")
    return parse_row(fields, manifest.parent / name.strip(), where=where, name=name.strip())


def _wrong_names(names: list[str]) -> str | None:
    """What is wrong with the names of the columns, if anything is."""
    for name in names:
        if name not in FIELDS:
            return f"the column {name!r} is unknown; known are {', '.join(FIELDS)}."
        if names.count(name) > 1:
            return f"the column {name!r} is there more than once."
    for name in _REQUIRED:
        if name not in names:
            return f"there is no column {name!r}; {' and '.join(_REQUIRED)} are needed."
    return None


def _place(path: Path, line: int) -> str:
    return f"{path.name}, line {line}"
