"""A job of the command line: built, made with progress on the terminal, and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillmotion.jobs.context import Output
    from stillmotion.jobs.model import AnyJob

# Options whose names are not those of the job's fields.
_OPTIONS = {"row": "ablation", "from_clip": "from"}


@dataclass(frozen=True)
class Terminal:
    """How a command talks, and what it works with."""

    doing: str
    """Before the progress."""
    device: str
    download: bool
    as_json: bool
    quiet: bool
    compiling: str = "off"


def job_of(fields: Mapping[str, Any]) -> AnyJob:
    """The job that options ask for.  Raises InputError, in the words of the options."""
    from stillmotion.errors import InputError
    from stillmotion.jobs.mistakes import FieldError
    from stillmotion.jobs.model import parse_job

    try:
        return parse_job(fields)
    except FieldError as error:
        field = error.field.partition(".")[0]
        if not field or not str(error).startswith(f"{error.field} is "):
            raise
        option = _OPTIONS.get(field, field).replace("_", "-")
        raise InputError(f"--{option}{str(error)[len(error.field) :]}") from error


def make(
    job: AnyJob, output: Output, terminal: Terminal, told: Callable[[dict[str, Any]], str]
) -> None:
    """Make a job and print what was made, in the words of `told`."""
    from stillmotion.apps.console import Notes, show
    from stillmotion.jobs.context import Context
    from stillmotion.jobs.shared_models import SharedModels
    from stillmotion.runtime.compiling import check_choice
    from stillmotion.runtime.garbage import without_collections
    from stillmotion.runtime.progress import Progress

    check_choice(terminal.compiling)
    say = Notes()
    context = Context(
        models=SharedModels(compiling=terminal.compiling), device=terminal.device,
        download=terminal.download, say=say, quiet=terminal.quiet,
    )  # fmt: skip
    with without_collections():
        from stillmotion.jobs.run import prepare_job

        prepared = prepare_job(job, output, context)
    with Progress(terminal.doing, quiet=terminal.quiet) as progress:
        facts = prepared.run(lambda done, total: progress.update(completed=done, total=total))
    show(told(facts), facts | {"notes": say.said}, as_json=terminal.as_json)
