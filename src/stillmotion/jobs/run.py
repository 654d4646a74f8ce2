"""A job made: the one place that the command line, Python, the server and the pages come to.

facts = run_job(parse_job({"kind": "draw", "prompt": "a red balloon"}), Output(path=path))
"""

from __future__ import annotations

from dataclasses import dataclass

from stillmotion.errors import OutputError
from stillmotion.jobs.context import Context, Facts, JobCancelledError, Output, Progress, Run
from stillmotion.jobs.drawn_steps import check_drawn_steps
from stillmotion.jobs.formats import suffix_of
from stillmotion.jobs.model import (
    AnimateJob,
    AnyJob,
    DrawJob,
    EditJob,
    EvaluateJob,
    InterpolateJob,
    LoopJob,
    StoryJob,
)


@dataclass(frozen=True)
class PreparedJob:
    """A job that was checked, with its model loaded."""

    job: AnyJob
    _run: Run
    _context: Context

    def run(self, progress: Progress | None = None) -> Facts:
        """Make it; `progress` is told after every step.

        Raises:
            JobCancelledError: `cancelled` of the context was true after a step.
            StillmotionError: something that could not be seen before.
        """

        def tick(done: int, total: int) -> None:
            _heed(self._context)
            if progress is not None:
                progress(done, total)

        _heed(self._context)
        return self._run(tick)


def run_job(
    job: AnyJob, output: Output, context: Context | None = None, progress: Progress | None = None
) -> Facts:
    """Make a job and write its files, each whole or not at all.

    Raises what `prepare_job` and `PreparedJob.run` raise.
    """
    return prepare_job(job, output, context or Context()).run(progress)


def prepare_job(job: AnyJob, output: Output, context: Context) -> PreparedJob:
    """Check all that can be checked before anything is computed, and load the model.

    Raises:
        InputError: a picture, clip or number that cannot be used.
        ModelError: the model is not here, or does not fit.
        OutputError: the output cannot be written, or is of another format than the job.
    """
    _heed(context)
    _check_format(job, output)
    check_drawn_steps(job, context.find)
    return PreparedJob(job, _prepared(job, output, context), context)


def _prepared(job: AnyJob, output: Output, context: Context) -> Run:
    """By its kind; what makes it is heavy, so that only that is imported."""
    match job:
        case DrawJob():
            from stillmotion.jobs import drawing_jobs

            return drawing_jobs.prepare(job, output, context)
        case AnimateJob() | InterpolateJob() | LoopJob():
            from stillmotion.jobs import clip_jobs

            return clip_jobs.prepare(job, output, context)
        case EditJob():
            from stillmotion.jobs import editing

            wish = editing.wish_of(job, output, context)
            return editing.prepare(wish, context.say, context.models)
        case StoryJob():
            from stillmotion.jobs import story_jobs

            return story_jobs.prepare(job, output, context)
        case EvaluateJob():
            from stillmotion.jobs import scoring

            return scoring.prepare(job, output, context)


def _heed(context: Context) -> None:
    if context.cancelled():
        raise JobCancelledError("the job was cancelled")


def _check_format(job: AnyJob, output: Output) -> None:
    wanted, given = suffix_of(job), output.path.suffix.lower()
    if given != wanted:
        asked = f"the ending '{wanted}'" if wanted else "a folder of frames"
        raise OutputError(
            f"'{output.path}' ends with '{given}', but the job asks for {asked}; let both say the "
            "same."
        )
