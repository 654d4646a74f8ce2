"""What a job may name and what it may cost, checked before it is queued."""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from typing import Any

from stillmotion.jobs.cost import cost_of
from stillmotion.jobs.drawn_steps import check_drawn_steps
from stillmotion.jobs.model import AnyJob, StoryJob, local_paths
from stillmotion.jobs.sources import FileSource
from stillmotion.queueing.views import Artifact, NoSuchArtifactError
from stillmotion.server.limits import ServerLimits
from stillmotion.server.problems import (
    INVALID,
    NOT_ALLOWED_MODEL,
    TOO_COSTLY,
    Kind,
    ProblemError,
)
from stillmotion.server.service import Service
from stillmotion.server.tokens import Principal

_WEIGHT = re.compile(r":[0-9.+-]+$")
"""`look.safetensors:0.8`: a LoRA and how much of it."""
_LOOK = re.compile(r"@[A-Za-z0-9][A-Za-z0-9_-]*$")
_MOST_SHOWN_PIXELS = 1 << 24
_CLIP_FIELDS = frozenset({"clip", "clips", "from_clip"})
_STILL_KINDS = frozenset({"still", "picture"})


def checked_cost(service: Service, principal: Principal, job: AnyJob) -> float:
    """The cost of a job, in pixel steps.

    Raises ProblemError (422) with the field, for a path or a picture that is not in the library,
    a model that the operator has not allowed, or a job that costs more than one may; FieldError
    for steps other than those in which a still was drawn.
    """
    _check_values(service.limits, job.model_dump(mode="json"), "job")
    _check_sources(service, principal, job)
    _check_models(service, job)
    check_drawn_steps(job, service.library.find)
    cost = cost_of(job, service.library.find)
    limits = service.limits
    if cost.pixels > limits.max_frame_pixels:
        raise _too_costly(
            f"Frames of {_short(cost.pixels)} pixels are asked for; at most "
            f"{limits.max_frame_pixels} pixels are made here: ask for a smaller size."
        )
    shown = cost.pixels * _scale(job) ** 2
    if shown > _MOST_SHOWN_PIXELS:
        raise _too_costly(
            f"Enlarged, the frames would have {_short(shown)} pixels; at most "
            f"{_MOST_SHOWN_PIXELS} are written: ask for a smaller scale."
        )
    try:
        total = cost.total
    except OverflowError:  # numbers out of the record of an uploaded clip
        total = math.inf
    if total > limits.max_cost:
        raise _too_costly(
            f"The job costs {total:.3g} pixel steps (frames x pixels x steps x count, of all its "
            f"parts); at most {limits.max_cost:.3g} are allowed: ask for less of one of them."
        )
    return total


def _check_values(limits: ServerLimits, value: Any, field: str) -> None:
    """Hold numbers, lists and texts to what there may be, before anything is computed."""
    name = field.rpartition(".")[2]
    if isinstance(value, dict):
        _check_length(limits.max_items, value, field)
        for key, one in value.items():
            _check_text(key, field)
            _check_values(limits, one, f"{field}.{key}")
    elif isinstance(value, list):
        _check_length(limits.lengths.get(name, limits.max_items), value, field)
        for index, one in enumerate(value):
            _check_values(limits, one, f"{field}.{index}")
    elif isinstance(value, str):
        _check_text(value, field)
    elif isinstance(value, int):
        most = limits.numbers.get(name)
        if most is not None and value > most:
            raise ProblemError(
                TOO_COSTLY,
                f"'{field}' is {_short(value)}; at most {most} is made here.",
                field=field,
            )


def _check_length(most: int, value: Sized, field: str) -> None:
    if len(value) > most:
        raise ProblemError(
            TOO_COSTLY,
            f"'{field}' has {len(value)} entries; at most {most} are taken here.",
            field=field,
        )


def _check_text(text: str, field: str) -> None:
    """Half a character cannot be written, neither to a file nor into an answer; zeros end names."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise _refused(INVALID, field, "holds what is no character; send text.")


def _scale(job: AnyJob) -> int:
    """How much larger than made the frames are written."""
    if isinstance(job, StoryJob):
        return job.script.scale
    return getattr(job, "scale", None) or 1


def _too_costly(sentence: str) -> ProblemError:
    return ProblemError(TOO_COSTLY, sentence)


def _short(number: int) -> str:
    """A number that a client may have made long."""
    text = str(number) if abs(number) < 10**15 else ""
    return text or "more than 10^15"


def _check_sources(service: Service, principal: Principal, job: AnyJob) -> None:
    for field, _ in local_paths(job):
        raise _refused(
            INVALID, field, "is a path; upload the file and give its id as 'artifact' instead."
        )
    for field, source in job.sources():
        _check_source(service, principal, field, source)
    if isinstance(job, StoryJob):
        for index, shot in enumerate(job.script.shots):
            for field in ("image", "last_frame"):
                name = getattr(shot, field)
                if name is not None and name not in job.pictures:
                    raise _refused(
                        INVALID,
                        f"job.script.shots.{index}.{field}",
                        "names a picture that 'pictures' does not have; add it there.",
                    )


def _check_source(service: Service, principal: Principal, field: str, source: FileSource) -> None:
    """Whether a job may take this picture or clip into this field."""
    assert source.artifact is not None
    try:
        found = service.library.get(source.artifact)
    except NoSuchArtifactError:
        raise _unknown(field) from None
    if not may_see(principal, found):
        raise _unknown(field)
    base = field.partition(".")[0]
    if base == "from_clip" and found.job_id is None:
        # Its record may name any model: who uploads a clip has written it.
        raise _refused(
            INVALID, field, "is an upload; only clips that were made here are made again."
        )
    wanted = frozenset({"clip"}) if base in _CLIP_FIELDS else _STILL_KINDS
    if found.kind not in wanted:
        raise _refused(INVALID, field, f"is a {found.kind}; give a {' or '.join(sorted(wanted))}.")


def _unknown(field: str) -> ProblemError:
    return _refused(INVALID, field, "is not in the library; give the id of one of your artifacts.")


def may_see(principal: Principal, artifact: Artifact) -> bool:
    """Whether an artifact is one's own; an admin's are all."""
    return principal.admin or artifact.owner == principal.name


def _check_models(service: Service, job: AnyJob) -> None:
    named = [(one.field, one.reference) for one in job.weights()]
    for field, reference in (*named, *_left_open(job)):
        if plain_reference(reference) not in service.allowed_models:
            offered = ", ".join(sorted(service.allowed_models)) or "none"
            raise _refused(
                NOT_ALLOWED_MODEL, field, f"names {reference[:80]!a}; offered here: {offered}."
            )


def _left_open(job: AnyJob) -> list[tuple[str, str]]:
    """The default model, of a job that names none."""
    if job.kind in ("evaluate", "story") or getattr(job, "model", None) is not None:
        return []
    if getattr(job, "method", None) == "dynamicrafter":
        return [("model", _DYNAMICRAFTER.get(job.kind, "miniature-dynamicrafter"))]
    return [("model", "miniature")]


_DYNAMICRAFTER = {
    "interpolate": "miniature-dynamicrafter-interp",
    "loop": "miniature-dynamicrafter-interp",
}


def plain_reference(reference: str) -> str:
    """`name@look` or `file:0.8` -> what the operator allows."""
    return _LOOK.sub("", _WEIGHT.sub("", reference))


def _refused(kind: Kind, field: str, sentence: str) -> ProblemError:
    field = field if field.startswith("job.") else f"job.{field}"
    return ProblemError(kind, f"'{field}' {sentence}", field=field)
