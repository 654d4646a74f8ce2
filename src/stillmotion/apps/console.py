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
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    with catch_warnings():
        if not sys.warnoptions:
            simplefilter("ignore")
        yield
