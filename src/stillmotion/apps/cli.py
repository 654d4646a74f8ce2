"""The `stillmotion` command."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from stillmotion import __version__
from stillmotion.apps.console import fail, hushed_libraries
from stillmotion.apps.lazy import group_of
from stillmotion.apps.options import FLAG
from stillmotion.jobs.failures import EXIT_INTERRUPTED, EXIT_USER_ERROR, sentence_for
from stillmotion.runtime.garbage import until_exit
from stillmotion.runtime.threads import training_threads, use_threads
from stillmotion.training.interrupts import termination_as_interrupt

# click's base of all mistakes on the command line.  Newer versions of typer carry a click of their
# own, whose classes are not those of the package `click`.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

#: Every command and where it is, in the order of the help; see `apps/lazy.py`.
COMMANDS = {
    "draw": "draw",
    "animate": "animate",
    "edit": "edit",
    "story": "story",
    "convert": "convert",
    "doctor": "doctor",
    "models": "doctor",
    "inspect": "inspect",
    "train": "train",
    "evaluate": "evaluate",
    "study": "study",
    "bench": "bench",
    "studio": "studio",
    "serve": "serve",
    "token": "serve",
    "submit": "remote",
    "watch": "remote",
    "jobs": "remote:jobs_app",
}

app = typer.Typer(
    name="stillmotion",
    cls=group_of(COMMANDS),
    help="Draw a still, choose one, and animate exactly that still.",
    epilog="Start with: `stillmotion draw 'a red balloon over green hills' -o balloon.png`, then "
    "`stillmotion animate balloon.png 'a red balloon rising' -o balloon.mp4`",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads of the CPU to compute with; without it 1 or 2, as many as are free.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=FLAG,
            is_eager=True,
            callback=_print_version,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Options before the command; `--version` does its work in its callback."""
    if threads is None and context.invoked_subcommand == "train":
        threads = training_threads()
    context.with_resource(use_threads(threads))


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; exits with 0, with 2 for what the user can mend, 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    ending = until_exit() if arguments is None else nullcontext()  # else the process is another's
    with ending, hushed_libraries(), termination_as_interrupt():
        code = _run(given or ["--help"], as_json="--json" in given)
    sys.exit(code)


def _run(arguments: list[str], *, as_json: bool) -> int:
    try:
        # `obj` is the line itself, for commands that note how they were called.
        code = app(arguments, prog_name="stillmotion", standalone_mode=False, obj=arguments)
    except _UsageError as error:
        if mistake := _told_mistake(error):
            fail(mistake, as_json=as_json)
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        fail(sentence, as_json=as_json)
        return EXIT_USER_ERROR
    if code == EXIT_INTERRUPTED:
        fail("interrupted; nothing half-written was left", as_json=as_json)
    return code if isinstance(code, int) else 0


def _told_mistake(error: Exception) -> str:
    """What is wrong with the command line, and where its help is; empty if help was shown."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "stillmotion"
    text = error.format_message().strip()  # type: ignore[attr-defined]
    return f"{text.rstrip('.')}; see '{command} --help'"
