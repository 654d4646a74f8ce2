"""What loading a model has in common for all methods: names, silence, and errors in a sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from stillmotion.errors import ModelError, StillmotionError
from stillmotion.runtime.memory import is_out_of_memory

LOOK_MARK = "@"
"""Between the name of a model and that of a look."""
# What the libraries raise for folders that are incomplete or damaged.
_LOADING_ERRORS = (
    OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, ImportError,
    SafetensorError,
)  # fmt: skip


def split_reference(reference: str) -> tuple[str, str | None]:
    """`name@look` -> name and look; a folder whose own name has an @ is taken as it is."""
    if LOOK_MARK not in reference or Path(reference).expanduser().is_dir():
        return reference, None
    name, _, look = reference.rpartition(LOOK_MARK)
    return name, look


def shareable(reference: str) -> str:
    """A reference without the folders above the model's own, which can tell who the user is."""
    name, look = split_reference(reference)
    folder = Path(name).expanduser()
    if folder.is_dir():
        name = Path(os.path.abspath(folder)).name
    return name if look is None else f"{name}{LOOK_MARK}{look}"


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Load without the advice and the progress bars of diffusers and transformers."""
    loggers = (diffusers_logging, transformers_logging)
    former = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in loggers]
    for log in loggers:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log, verbosity, had_bars in former:
            log.set_verbosity(verbosity)
            if had_bars:
                log.enable_progress_bar()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say in a sentence why a model cannot be loaded."""
    try:
        yield
    except StillmotionError:
        raise
    except _LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"the model '{name}' cannot be loaded, a part of it is missing, damaged or of another "
            f"kind: {_first_sentence(error)}"
        ) from error


def _first_sentence(error: Exception) -> str:
    """Of a library's message, which can go on for lines with advice that does not fit here."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0] or type(error).__name__
