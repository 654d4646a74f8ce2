"""Printing: results to stdout, as words or as JSON; notes, progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings, simplefilter


class Notes:
    """Things worth knowing beside the result: said at once, and kept for the JSON result."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, text: str) -> None:
        self.said.append(text)
        print(f"note: {text}", file=sys.stderr)


def show(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """Print a result: one JSON object for machines, or words for people."""
    # Flushed here, where a reader that has gone away (`| head`) can still be dealt with.
    print(json.dumps(facts, indent=2) if as_json else text, flush=True)


def fail(sentence: str, *, as_json: bool) -> None:
    """Say why a command did not do its work."""
    print(json.dumps({"error": sentence}) if as_json else f"error: {sentence}", file=sys.stderr)


@contextmanager
def hushed_libraries() -> Iterator[None]:
    """Keep the warnings and advice of the libraries below from the user's terminal.

    To be entered before they are imported, which is when they say most.  What the user asked for
    (in the environment, or by `python -W`) stays; worker processes are hushed as well.
    """
    wishes = {
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore",
    }
    added = {name: value for name, value in wishes.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with catch_warnings():
            if not sys.warnoptions:
                simplefilter("ignore")
            yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def resumable() -> Iterator[None]:
    """Tell who interrupts the work inside that it is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        Notes()("what is finished is kept; the same command goes on from there")
        raise
