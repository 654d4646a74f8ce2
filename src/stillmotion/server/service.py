"""What the application stands on, put together once and handed to every request."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from stillmotion.queueing.library import Library
from stillmotion.queueing.pool import Engine
from stillmotion.queueing.queue import JobQueue
from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.server.events import EventHub
from stillmotion.server.limits import ServerLimits
from stillmotion.server.metrics import Metrics
from stillmotion.server.problems import BUSY, FORBIDDEN, ProblemError
from stillmotion.server.rates import Places, RateLimiter
from stillmotion.server.shared import SharedCounters
from stillmotion.server.tokens import LOCAL, Principal, TokenBook
from stillmotion.server.uploads import Probe

DEFAULT_MODELS = ("miniature", "miniature-dynamicrafter", "miniature-dynamicrafter-interp")


@dataclass(frozen=True, kw_only=True)
class Service:
    """A queue and a library, and what the server allows with them."""

    queue: JobQueue
    library: Library
    limits: ServerLimits
    allowed_models: frozenset[str]
    """Models and files of weights that a job may name."""
    book: TokenBook | None
    """None: no tokens are asked for."""
    hosts: frozenset[str]
    """Names that the server answers to; none: all."""
    hub: EventHub
    probe: Probe
    streams: Places
    requests: Places
    """Requests that are being answered, of those who have tokens."""
    uploads: Places
    """Files that are being sent."""
    engine: Engine | None = None
    """What makes the jobs, if it is this process that started it."""
    metrics: Metrics = field(default_factory=Metrics)
    rates: RateLimiter = field(default_factory=RateLimiter)

    def submit_limits(self, principal: Principal, owner: str) -> SubmitLimits:
        """What holds when a principal submits, changes or retries a job of `owner`.

        An admin's own limits are not those of others' jobs.
        """
        most = SubmitLimits(
            max_waiting=self.limits.max_queue, max_ended_of_owner=self.limits.max_ended
        )
        if owner != principal.name:
            return most
        return replace(
            most,
            max_waiting_of_owner=principal.limits.max_waiting,
            max_cost_of_owner=principal.limits.max_cost,
        )

    def check_room(self, folder: Path) -> None:
        """Raise ProblemError (503) if the disk of a folder is nearly full: running jobs need it."""
        free = shutil.disk_usage(folder).free
        if free < self.limits.min_free_bytes:
            raise ProblemError(
                BUSY,
                f"The disk has {free} bytes left, too few to take more; try again when the "
                "operator has made room.",
                retry_after=60,
            )


def make_service(
    folder: Path,
    *,
    limits: ServerLimits | None = None,
    allowed_models: frozenset[str] = frozenset(DEFAULT_MODELS),
    book: TokenBook | None = None,
    hosts: frozenset[str] = frozenset(),
    max_bytes: int | None = None,
    engine: Engine | None = None,
) -> Service:
    """A service over the library in `folder`, which is made if it is missing.

    `max_bytes`: of the library's files; the oldest go first.
    """
    limits = limits or ServerLimits()
    queue = JobQueue(folder)
    # Where nobody has a token, nobody is counted but the server as a whole.
    shared = SharedCounters(folder) if book is not None else None
    streams = Places(limits.max_streams, "event streams", shared)
    service = Service(
        queue=queue,
        library=Library(folder, max_bytes=max_bytes),
        limits=limits,
        allowed_models=allowed_models,
        book=book,
        hosts=hosts,
        hub=EventHub(queue),
        probe=Probe.under(limits),
        streams=streams,
        requests=Places(limits.max_connections, "requests"),
        uploads=Places(limits.max_uploads, "uploads"),
        rates=RateLimiter(shared),
        engine=engine,
    )
    service.metrics.watch("event_streams", "Event streams open now.", lambda: streams.taken)
    return service


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service


def principal_of(request: Request) -> Principal:
    """Who a request comes from: what `TokenCheck` found."""
    principal: Principal = getattr(request.state, "principal", LOCAL)
    return principal


def admin_of(principal: Annotated[Principal, Depends(principal_of)]) -> Principal:
    """The same, of one who may change the queue.  Raises ProblemError (403) for others."""
    if not principal.admin:
        raise ProblemError(
            FORBIDDEN,
            f"The token '{principal.name}' may not change the queue; ask the operator for one "
            "that is made with --admin.",
        )
    return principal


def owner_filter(principal: Principal) -> str | None:
    """Whose jobs and artifacts are listed: one's own, or all for an admin."""
    return None if principal.admin else principal.name


Served = Annotated[Service, Depends(service_of)]
Asking = Annotated[Principal, Depends(principal_of)]
Admin = Annotated[Principal, Depends(admin_of)]
