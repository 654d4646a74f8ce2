"""Printing: results to stdout, as words or as JSON; notes, progress and errors to stderr."""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any


def show(text: str, facts: dict[str, Any], *, as_json: bool) -> None:
    """Print a result: one JSON object for machines, or words for people."""
    print(json.dumps(facts, indent=2) if as_json else text)


def note(text: str) -> None:
    """Say something beside the result."""
    print(f"note: {text}", file=sys.stderr)


def fail(sentence: str, *, as_json: bool) -> None:
    """Say why a command did not do its work."""
    print(json.dumps({"error": sentence}) if as_json else f"error: {sentence}", file=sys.stderr)


def hush_libraries() -> None:
    """Keep the progress bars and advice of the libraries below from the user's terminal."""
    # Read by the libraries when they are imported, which is when they say most.
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
