"""What is said beside a job: where the result goes, and what it is made with.

None of it decides what the result is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.jobs.shared_models import SharedModels
from stillmotion.jobs.sources import Find, find_file

Say = Callable[[str], None]
"""Told what is worth knowing, though it stops nothing."""
Progress = Callable[[int, int], None]
"""Told of the steps done and of all steps, after each."""
Parts = Callable[[str], AbstractContextManager[Progress]]
"""For as long as a part of a job, with this name, is made."""
Facts = dict[str, Any]
"""What was made: the paths and seeds, and what is worth knowing, as JSON values."""
Run = Callable[[Progress], Facts]
"""Makes what was checked."""


class JobCancelledError(Exception):
    """Someone asked, while a job was made, that it be no more; nothing half-written was left."""


def _nothing_said(text: str) -> None:
    """For those who do not want to know."""


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a job's result goes."""

    path: Path
    """Several become NAME-1, NAME-2 and so on; the ending fits the job's format."""
    overwrite: bool = False
    preview: Path | None = None
    """A PNG that shows, while a clip is made, how its frames seem to become."""
    keep: Path | None = None
    """A folder for finished parts, such as a story's shots, with which a later run goes on; None:
    a story's lie in NAME.shots beside the film."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a job is made with, and who is told."""

    models: SharedModels = field(default_factory=SharedModels)
    device: str = "auto"
    download: bool = False
    """Whether models may be fetched from a hub."""
    find: Find = find_file
    """Where sources are."""
    say: Say = _nothing_said
    on_preview: Callable[[bytes], None] | None = None
    """Given a PNG of what a clip or still seems to become, now and then."""
    cancelled: Callable[[], bool] = _never
    """Asked after every step."""
    parts: Parts | None = None
    """Shows the progress of a job's parts one by one, such as the shots of a story, by their names;
    without it a job has one progress as a whole."""
    quiet: bool = True
    """Show no progress of what is done while a job is prepared."""
