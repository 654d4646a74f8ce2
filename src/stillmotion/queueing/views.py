"""What is told of jobs, artifacts and events; and the errors of the queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from stillmotion.errors import InputError

JobState = Literal["queued", "paused", "running", "cancelling", "done", "failed", "cancelled"]
WAITING: frozenset[JobState] = frozenset({"queued", "paused"})
RUNNING: frozenset[JobState] = frozenset({"running", "cancelling"})
ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})
ArtifactKind = Literal["still", "clip", "latents", "record", "chapters", "scores", "picture"]
"""`picture` is one that a user gave, as is a clip without a job; all others were made."""
Clock = Callable[[], float]
"""Seconds since 1970."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class JobView(_View):
    """A job in the queue, as it is now.  Times are seconds since 1970."""

    id: str
    """32 hexadecimal digits."""
    kind: str
    job: dict[str, Any]
    """For `parse_job`."""
    state: JobState
    priority: int
    """Higher is sooner."""
    owner: str
    """Who submitted it: the name of a token, or empty."""
    cost: float
    attempts: int
    """How often it was begun."""
    max_attempts: int
    progress: float
    """0 to 1."""
    message: str
    error: str | None
    """Of a failed job: why, in a sentence."""
    worker: str | None
    """Who makes it now."""
    created_at: float
    started_at: float | None
    finished_at: float | None
    has_preview: bool
    artifacts: tuple[str, ...]
    """Ids of what was made, in order; the companions of a still or clip follow it."""


class JobPage(_View):
    """Some jobs, and where to go on (None: these were the last)."""

    jobs: tuple[JobView, ...]
    next: int | None


class Submission(_View):
    """A job that was submitted; not new if its idempotency key had been used for it before."""

    job: JobView
    is_new: bool


class Event(_View):
    """Something that happened; numbers only grow, and are never given twice."""

    number: int
    job_id: str | None
    """None: it concerns the queue as a whole."""
    at: float
    kind: str
    """queued, started, progress, preview, requeued, paused, resumed, edited, moved, retried,
    cancelling, done, failed, cancelled, deleted; of the queue: queue_paused, queue_resumed."""
    data: dict[str, Any]
    """progress: `progress`, `message`; failed, requeued: `error`; done: `artifacts`."""


class QueueState(_View):
    """The queue as a whole."""

    paused: bool
    counts: dict[str, int]
    """Jobs by state; every state is there."""
    waiting_cost: float
    """Of the jobs that wait or run."""
    last_event: int


class Artifact(_View):
    """A file in the library."""

    id: str
    """32 hexadecimal digits."""
    number: int
    """Grows with time: newer artifacts have larger ones."""
    kind: ArtifactKind
    name: str
    """For people, and for records; safe as the name of a file."""
    content_type: str
    size: int
    """In bytes."""
    sha256: str
    width: int | None
    height: int | None
    num_frames: int | None
    created_at: float
    job_id: str | None
    """None: a user gave it."""
    owner: str
    main: str | None
    """Id of the still or clip that this belongs to; None: it is one itself."""
    pinned: bool
    has_thumbnail: bool


class ArtifactPage(_View):
    """Some artifacts, newest first, and where to go on (None: these were the last)."""

    artifacts: tuple[Artifact, ...]
    next: int | None


class NewArtifact(_View):
    """A file that a job wrote into its folder."""

    file: str
    """Its name there."""
    kind: ArtifactKind
    content_type: str
    main: str | None = None
    """File that it belongs to."""
    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    thumbnail: bytes | None = None
    """WebP."""


class Claim(_View):
    """A job that a worker has taken."""

    job_id: str
    lease: str
    """Proves that the job is still this worker's."""
    job: dict[str, Any]
    attempt: int
    owner: str
    folder: Path
    """Empty; results are written there, and become artifacts when the job is completed."""
    keep: Path
    """Stays from attempt to attempt, and is deleted when the job ends."""


class NoSuchJobError(InputError):
    """There is no job with this id."""


class NoSuchArtifactError(InputError):
    """There is no artifact with this id."""


class StateError(InputError):
    """What was asked cannot be done in the state that a job or an artifact is in."""


class QueueFullError(InputError):
    """As many jobs wait as may."""


class IdempotencyError(InputError):
    """An idempotency key was used before, for another job."""


class LeaseLostError(Exception):
    """The job is not this worker's any more: what it made is not wanted."""
