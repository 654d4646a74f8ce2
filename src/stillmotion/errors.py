"""Errors that a user can cause and mend.

Each carries one sentence: the value given, the values allowed, and what to do.  The command
line prints that sentence and exits with code 2; everything else is a defect of ours and keeps
its traceback.
"""

from __future__ import annotations


class StillmotionError(ValueError):
    """Base of every error that the user can mend."""


class InputError(StillmotionError):
    """A still, clip, prompt or number that cannot be used as given."""


class ModelError(StillmotionError):
    """A model that is unknown, incomplete, or not of the expected kind."""


class OutputError(StillmotionError):
    """A result that cannot be written where it was asked for."""
