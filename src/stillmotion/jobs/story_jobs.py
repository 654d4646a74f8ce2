"""From a `story` job to what `story_making.py` makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.jobs.context import Context, Facts, Output, Progress, Run
from stillmotion.jobs.formats import clip_format
from stillmotion.jobs.model import StoryJob, parse_job
from stillmotion.jobs.sources import FileSource, Find, Found
from stillmotion.jobs.story_making import Part, StorySettings, make_film
from stillmotion.jobs.story_plan import Script
from stillmotion.jobs.story_script import read_script
from stillmotion.jobs.story_shots import Studio

_PARTS = 1000
"""Of the progress of a story, whose steps are not known beforehand."""


def read_story(path: Path, output: Path, memory: str) -> StoryJob:
    """The job of a script in a file, whose pictures are paths relative to it.

    Raises InputError, with the shot and the field, if the file is no script, or for a format that
    clips do not have.
    """
    script = read_script(path)
    named = [name for shot in script.shots for name in (shot.image, shot.last_frame)]
    files = {n: str(path.parent / Path(n).expanduser()) for n in named if n is not None}
    job = parse_job(
        {
            "kind": "story", "script": script, "format": clip_format(output), "memory": memory,
            "pictures": {name: FileSource(path=file) for name, file in files.items()},
        }
    )  # fmt: skip
    assert isinstance(job, StoryJob)
    return job


def script_of(job: StoryJob, find: Find) -> Script:
    """The script with the job's pictures, looked for when a shot is checked."""

    def found(name: str) -> Found:
        source = job.pictures.get(name)
        if source is None:
            raise InputError(
                f"there is no picture '{name}'; it is to be named in `pictures` of the job."
            )
        if source.path is not None and not Path(source.path).is_file():
            raise InputError(
                f"there is no picture '{source.path}'; paths are relative to the script."
            )
        return find(source)

    return Script(job.script, found)


def settings_of(job: StoryJob, output: Output, context: Context) -> StorySettings:
    """How the film is made; progress is shown as `make_film` does."""
    studio = Studio(
        device=context.device, memory=job.memory, download=context.download, models=context.models
    )
    return StorySettings(
        folder=output.keep, overwrite=output.overwrite, studio=studio,
        on_preview=context.on_preview, quiet=context.quiet,
    )  # fmt: skip


def prepare(job: StoryJob, output: Output, context: Context) -> Run:
    """The script is checked when the job is run, as its shots are planned one after another."""
    script = script_of(job, context.find)

    def run(progress: Progress) -> Facts:
        @contextmanager
        def as_a_whole(part: Part) -> Iterator[Progress]:
            half = 0.0 if part.doing == "draw" else 0.5

            def tell(done: int, total: int) -> None:
                shots = part.number - 1 + half + 0.5 * done / total
                progress(int(_PARTS * shots / part.num_shots), _PARTS)

            yield tell

        parts = context.parts

        @contextmanager
        def apart(part: Part) -> Iterator[Progress]:
            assert parts is not None
            with parts(part.name) as told, as_a_whole(part) as tell:

                def both(done: int, total: int) -> None:
                    tell(done, total)
                    told(done, total)

                yield both

        watch = as_a_whole if parts is None else apart
        settings = replace(settings_of(job, output, context), watch=watch)
        return make_film(script, output.path, settings, context.say)

    return run
