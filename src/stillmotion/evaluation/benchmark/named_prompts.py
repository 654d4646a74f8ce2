"""Prompts that are said of files: read from .json, .csv or text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from stillmotion.errors import InputError

_NAME_COLUMNS = ("file", "name", "path", "video", "video_id")
_PROMPT_COLUMNS = ("prompt", "caption", "text")


def read_named_prompts(path: Path) -> dict[str, str]:
    """Words by the file that they are said of.

    .json holds an object {file: prompt}, .csv the columns file and prompt; any other text has the
    file, a tab and the prompt on each line.

    Raises:
        InputError: no such file, or not as described.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        suffix = path.suffix.lower()
        if suffix == ".json":
            content = json.loads(text)
            if not isinstance(content, dict):
                raise ValueError("it is no object")
            pairs = list(content.items())
        elif suffix == ".csv":
            pairs = list(_csv_pairs(text))
        else:
            pairs = [_line_pair(line) for line in text.splitlines() if line.strip()]
        if not all(isinstance(words, str) for _, words in pairs):
            raise ValueError("a prompt is no text")
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as prompts ({error}); it should be .json with "
            '{"clip.mp4": "prompt"}, .csv with the columns file,prompt, or text with the file, a '
            "tab and the prompt on each line"
        ) from error
    return {str(name).replace("\\", "/").strip(): words.strip() for name, words in pairs}


def _csv_pairs(text: str) -> Iterator[tuple[str, str]]:
    rows = [row for row in csv.reader(text.splitlines(), strict=True) if row]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    name = next((header.index(one) for one in _NAME_COLUMNS if one in header), None)
    words = next((header.index(one) for one in _PROMPT_COLUMNS if one in header), None)
    if name is None or words is None:
        name, words = 0, 1
    else:
        del rows[0]
    for row in rows:
        if len(row) <= max(name, words):
            raise ValueError(f"a row has {len(row)} cells: {','.join(row)[:80]}")
        yield row[name], row[words]


def _line_pair(line: str) -> tuple[str, str]:
    name, tab, words = line.partition("\t")
    if not tab:
        raise ValueError(f"there is no tab in: {line[:80]}")
    return name, words
