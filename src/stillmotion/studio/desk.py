"""One person at the queue and the library: what they may see, and what they may do.

The same limits and rules as over HTTP; every refusal is a `Refusal`, one sentence and its field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stillmotion.errors import StillmotionError
from stillmotion.jobs.mistakes import FieldError
from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.models.registry import MINIATURE
from stillmotion.queueing.changing import Change
from stillmotion.queueing.library import Library
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.views import (
    Artifact,
    ArtifactPage,
    JobView,
    NoSuchArtifactError,
    NoSuchJobError,
)
from stillmotion.server.costs import checked_cost, may_see
from stillmotion.server.problems import ProblemError, as_problem
from stillmotion.server.service import Service, owner_filter
from stillmotion.server.tokens import Principal

_NOT_YOURS = "That is not there any more."


class Refusal(Exception):
    """Something that cannot be done: one sentence, and the field that caused it, or none."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field
        self.sentence = sentence


@contextmanager
def refusing() -> Iterator[None]:
    """Turns whatever is expected to go wrong into a `Refusal`; defects pass."""
    try:
        yield
    except FieldError as error:
        raise Refusal(_root(error.field), _sentence(str(error))) from error
    except (StillmotionError, ProblemError) as error:
        problem = as_problem(error)
        assert problem is not None
        raise Refusal(_root(problem.field or ""), _sentence(str(problem.detail))) from error


def _root(field: str) -> str:
    """`job.prompt_at.0.text` -> `prompt_at`: what the form has a place for."""
    return field.removeprefix("job.").partition(".")[0]


def _sentence(text: str) -> str:
    text = text.strip().replace("'job.", "'").removeprefix("job.")
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class Desk:
    """What `principal` can do with `service`.  Everything raises `Refusal`."""

    service: Service
    principal: Principal
    page: str = ""
    """Which open page asks."""

    @property
    def queue(self) -> JobQueue:
        return self.service.queue

    @property
    def library(self) -> Library:
        return self.service.library

    @property
    def owner(self) -> str | None:
        """Whose jobs and artifacts are shown; None: everybody's."""
        return owner_filter(self.principal)

    def readiness(self) -> str:
        """Whether the model that workers load at their start is there; empty if they load none."""
        engine = self.service.engine
        if engine is None or engine.warm_up is None:
            return ""
        name = f"The {engine.warm_up}" if engine.warm_up == MINIATURE else f"'{engine.warm_up}'"
        if engine.ready():
            return f"{name} is ready."
        return f"{name} is loading; what waits begins when it is ready."

    def submit(self, make: Callable[[], tuple[AnyJob, ...]]) -> tuple[str, ...]:
        """Queue the jobs that `make` builds, all or, if one is refused, none; their ids."""
        with refusing():
            jobs = make()
            self.service.check_room(self.library.folder)
            costs = [checked_cost(self.service, self.principal, job) for job in jobs]
            done: list[str] = []
            try:
                for job, cost in zip(jobs, costs, strict=True):
                    done.append(self._submit(job, cost))
            except StillmotionError:
                for job_id in done:
                    self.queue.cancel(job_id)
                raise
        return tuple(done)

    def _submit(self, job: AnyJob, cost: float) -> str:
        limits = self.service.submit_limits(self.principal, self.principal.name)
        made = self.queue.submit(job, owner=self.principal.name, cost=cost, limits=limits)
        return made.job.id

    def job(self, job_id: str) -> JobView:
        """One of one's own jobs."""
        with refusing():
            try:
                job = self.queue.get(job_id)
            except NoSuchJobError:
                raise Refusal("", _NOT_YOURS) from None
        if not self.principal.admin and job.owner != self.principal.name:
            raise Refusal("", _NOT_YOURS)
        return job

    def jobs(self, ids: Iterable[str]) -> tuple[JobView, ...]:
        """Those of the jobs that are there and one's own, in the given order."""
        return tuple(filter(None, map(self._found_job, ids)))

    def _found_job(self, job_id: str) -> JobView | None:
        try:
            return self.job(job_id)
        except Refusal:
            return None

    def artifact(self, artifact_id: str) -> Artifact:
        """One of one's own artifacts."""
        try:
            found = self.library.get(artifact_id)
        except (NoSuchArtifactError, StillmotionError):
            raise Refusal("", _NOT_YOURS) from None
        if not may_see(self.principal, found):
            raise Refusal("", _NOT_YOURS)
        return found

    def found(self, artifact_id: str) -> Artifact | None:
        """The same, or None."""
        if not artifact_id:
            return None
        try:
            return self.artifact(artifact_id)
        except Refusal:
            return None

    def mains(self, job: JobView) -> tuple[Artifact, ...]:
        """The stills or clips that a job made, without what belongs to them."""
        found = filter(None, map(self.found, job.artifacts))
        return tuple(artifact for artifact in found if artifact.main is None)

    def history(self, limit: int) -> ArtifactPage:
        """The newest of all that one has made or given."""
        with refusing():
            return self.library.list(owner=self.owner, limit=limit)

    def edit(self, job_id: str, change: Callable[[AnyJob], AnyJob]) -> None:
        """Change a job that has not started."""
        job = self.job(job_id)
        with refusing():
            new = change(parse_job(job.job))
            cost = checked_cost(self.service, self.principal, new)
            limits = self.service.submit_limits(self.principal, job.owner)
            self.queue.change(job.id, Change(job=new, cost=cost, limits=limits))

    def act_on_job(self, verb: str, job_id: str) -> None:
        """cancel, pause, resume, retry, sooner, later, or forget (of an ended job)."""
        job = self.job(job_id)
        acts: dict[str, Callable[[], object]] = {
            "cancel": lambda: self.queue.cancel(job.id),
            "pause": lambda: self.queue.pause(job.id),
            "resume": lambda: self.queue.resume(job.id),
            "retry": lambda: self._retry(job),
            "sooner": lambda: self._move(job.id, -1),
            "later": lambda: self._move(job.id, 1),
            "forget": lambda: self.queue.delete(job.id),
        }
        with refusing():
            acts[verb]()

    def _retry(self, job: JobView) -> None:
        """A job that ended badly, once more, if another may wait."""
        self.queue.retry(job.id, limits=self.service.submit_limits(self.principal, job.owner))

    def _move(self, job_id: str, step: int) -> None:
        """Change places with the next one of one's own jobs, if there is one."""
        ids = [job.id for job in self.queue.waiting(owner=self.owner)]
        place = ids.index(job_id) + step if job_id in ids else -1
        if 0 <= place < len(ids):
            other = {"before": ids[place]} if step < 0 else {"after": ids[place]}
            self.queue.move(job_id, **other)

    def pause_queue(self, paused: bool) -> None:
        """Stop or go on with the whole queue, which only who may see all may do."""
        if not self.principal.admin:
            raise Refusal("", "Only a token made with --admin may pause the whole queue.")
        with refusing():
            if paused:
                self.queue.pause_all()
            else:
                self.queue.resume_all()

    def delete(self, artifact_id: str) -> None:
        """Delete a result or an upload, with what belongs to it."""
        artifact = self.artifact(artifact_id)
        with refusing():
            self.library.delete(artifact.id)

    def pin(self, artifact_id: str) -> None:
        """Keep a result when the library must make room, or no longer."""
        artifact = self.artifact(artifact_id)
        with refusing():
            self.library.pin(artifact.id, not artifact.pinned)
