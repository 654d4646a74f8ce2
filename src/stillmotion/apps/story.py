"""`stillmotion story`: a script of shots to one film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.animate_options import ClipOutput, Memory
from stillmotion.apps.options import FLAG, Device, Download, Force, Json, Quiet

app = typer.Typer()


@app.command()
def story(
    script: Annotated[
        Path, typer.Argument(metavar="SCRIPT.yaml", help="The shots, one after another.")
    ],
    output: ClipOutput,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where finished shots are kept; the same command makes only those that are "
            "missing or were changed.",
            show_default="NAME.shots beside the film",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            metavar=FLAG,
            help="Check everything and show the plan: shots, frames and times.  Nothing is made.",
        ),
    ] = False,
    device: Device = "auto",
    memory: Memory = "auto",
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a film of several shots, with a chapter file, NAME.chapters.vtt, beside it.

    A shot begins with a picture (`image: cat.png`), with a still that is drawn (`draw: a red
    balloon`), or with the last frame of the shot before (`continue: true`); `prompt` says what
    happens.  Its other fields are options of `stillmotion animate`, with _ for -.

    Stop it at any time: finished shots are kept, and the same command goes on.  A shot that was
    changed is made again, and those that continue from it.
    """
    from stillmotion.apps.console import Notes, resumable, show
    from stillmotion.errors import InputError

    if not script.is_file():
        raise InputError(f"there is no script '{script}'; check the name.")

    from stillmotion.jobs.context import Context, Output
    from stillmotion.jobs.outputs import check_clip_outputs
    from stillmotion.jobs.run import prepare_job
    from stillmotion.jobs.story_jobs import read_story, script_of, settings_of
    from stillmotion.jobs.story_making import make_film

    check_clip_outputs(output, 1, overwrite=force or dry_run)
    job = read_story(script, output, memory)
    say = Notes()
    target = Output(path=output, overwrite=force, keep=folder)
    context = Context(
        device=device, download=download, say=say, parts=partial(_shown, quiet=quiet), quiet=quiet
    )
    if dry_run:
        settings = replace(settings_of(job, target, context), dry_run=True)
        facts = make_film(script_of(job, context.find), output, settings, say)
    else:
        with resumable():
            facts = prepare_job(job, target, context).run()
    show(_told(facts), facts | {"notes": say.said}, as_json=as_json)


@contextmanager
def _shown(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """The progress of a part of the film."""
    from stillmotion.runtime.progress import Progress

    with Progress(name, quiet=quiet) as progress:
        yield lambda done, total: progress.update(completed=done, total=total)


def _told(facts: dict[str, Any]) -> str:
    count, seconds = facts["num_frames"], facts["num_frames"] / facts["fps"]
    shots = f"{len(facts['shots'])} shot{'s' if len(facts['shots']) != 1 else ''}"
    lines = [
        f"{facts['path']}  ({shots}, {count} frames, {seconds:.2f} s, {facts['width']} x "
        f"{facts['height']} pixels)"
    ]
    missing = ("is_missing", "to be made") if facts["dry_run"] else ("was_made", "made")
    for row in facts["shots"]:
        state = missing[1] if row[missing[0]] else "finished before"
        lines.append(
            f"  {row['number']:>2}  {row['start']} - {row['stop']}  {row['num_frames']:>3} frames  "
            f"{row['method']}, {row['model']}, seed {row['seed']}  ({state})  {row['chapter']}"
        )
    return "\n".join(lines)
