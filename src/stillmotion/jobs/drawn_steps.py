"""Stills that were drawn here are animated in the steps in which they were drawn.

Their records say how many, so a job that asks for another number is refused before any model is
loaded, by every door in the same sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillmotion.errors import InputError, ModelError
from stillmotion.jobs.methods import DYNAMICRAFTER, chosen_method
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnimateJob, AnyJob, Clips, EditJob, InterpolateJob, LoopJob
from stillmotion.jobs.sources import FileSource, Find
from stillmotion.media.clips import read_provenance
from stillmotion.media.images import latents_path
from stillmotion.models.registry import MINIATURE, known_model


@dataclass(frozen=True)
class _Drawn:
    """A still that was drawn here."""

    name: str
    steps: int
    model: str


def check_drawn_steps(job: AnyJob, find: Find) -> None:
    """Raises FieldError for steps other than those in which the job's stills were drawn.

    Nothing is said of what only the model itself can tell, nor of a clip that is made again, whose
    own record has a say.
    """
    if not isinstance(job, AnimateJob | InterpolateJob | LoopJob | EditJob):
        return
    if not isinstance(job, EditJob) and not _takes_latents(job):
        return
    first = _drawn(job.still, find)
    last = _drawn(job.last_frame, find) if isinstance(job, InterpolateJob) else None
    drawn = [one for one in (first, last) if one is not None]
    if not drawn or _diffused(job.model or (first.model if first is not None else MINIATURE)):
        return
    for one in drawn:
        if job.steps is not None and job.steps != one.steps:
            raise FieldError("steps", steps_do_not_fit(one.name, one.steps, job.steps))
    if first is not None and last is not None and first.steps != last.steps:
        said = steps_differ(first.name, first.steps, last.name, last.steps)
        raise FieldError("last_frame", said)


def steps_do_not_fit(name: str | None, drawn_in: int, steps: int) -> str:
    """What is wrong, in the words of the command line."""
    return (
        f"'{name}' was drawn in {drawn_in} steps, and its latents fit no other number, not "
        f"{steps}; leave out --steps, draw it again, or add --photograph to animate its pixels "
        "alone"
    )


def steps_differ(first: str | None, drawn_in: int, last: str | None, last_in: int) -> str:
    """Of two stills that a clip is to lead from one to the other."""
    return (
        f"'{first}' was drawn in {drawn_in} steps and '{last}' in {last_in}; draw both in equally "
        "many, or add --photograph to animate their pixels alone."
    )


def _takes_latents(job: Clips) -> bool:
    return (
        job.from_clip is None
        and not job.photograph
        and chosen_method(job.method, job.model, None) != DYNAMICRAFTER
    )


def _drawn(source: FileSource | None, find: Find) -> _Drawn | None:
    """A still that its latents lie beside; None for any other picture."""
    if source is None:
        return None
    found = find(source)
    if not latents_path(found.path).is_file():
        return None
    try:
        record = read_provenance(found.path)
    except InputError:
        return None  # whoever loads it says what is wrong
    sampling = record.settings.get("sampling")
    steps = sampling.get("num_inference_steps") if isinstance(sampling, dict) else None
    if record.kind != "still" or not isinstance(steps, int):
        return None
    return _Drawn(found.name, steps, record.model.name)


def _diffused(model: str) -> bool:
    """Whether a model animates stills by their pixels anyhow; true if nobody here knows."""
    try:
        known = known_model(model.partition("@")[0])
    except ModelError:
        return True
    return known.folder is None or known.description.still_trajectory == "diffused"
