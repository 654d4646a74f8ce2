"""/v1/jobs: submit, look, change, cancel, follow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stillmotion.queueing.submitting import SubmitLimits
from stillmotion.queueing.views import (
    ENDED,
    IdempotencyError,
    JobPage,
    JobState,
    JobView,
    NoSuchJobError,
    QueueFullError,
    Submission,
)
from stillmotion.server.costs import checked_cost
from stillmotion.server.problems import (
    KEY_REUSED,
    NOT_FOUND,
    QUEUE_FULL,
    ProblemDetails,
    ProblemError,
)
from stillmotion.server.rates import Places
from stillmotion.server.service import Asking, Served, Service, owner_filter
from stillmotion.server.tokens import Principal
from stillmotion.server.views import (
    ANIMATE_EXAMPLE,
    DRAW_EXAMPLE,
    MAX_PAGE,
    HexId,
    JobChange,
    JobRequest,
)

RETRY_SECONDS = 10.0
_LARGEST_NUMBER = 2**63 - 1
Number = Annotated[int, Query(ge=0, le=_LARGEST_NUMBER)]
After = Annotated[int | None, Query(ge=0, le=_LARGEST_NUMBER)]
EventNumber = Annotated[str, Header(pattern=r"^[0-9]{1,19}$")]
Key = Annotated[str | None, Header(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


def job_of(job_id: HexId, service: Served, principal: Asking) -> JobView:
    """A job that one may see.  Raises ProblemError (404)."""
    try:
        job = service.queue.get(job_id)
    except NoSuchJobError:
        raise _no_such_job(job_id) from None
    if not principal.admin and job.owner != principal.name:
        raise _no_such_job(job_id)
    return job


Mine = Annotated[JobView, Depends(job_of)]


def _no_such_job(job_id: str) -> ProblemError:
    return ProblemError(NOT_FOUND, f"There is no job '{job_id}'; GET /v1/jobs lists yours.")


@router.post(
    "",
    # Which of the two it is is said below; a status given here would be sent always.
    response_description="Submitted before under the same key.",
    responses={202: {"model": JobView, "description": "Queued."}},
)
def submit(
    asked: Annotated[
        JobRequest,
        Body(
            openapi_examples={
                "draw": {"summary": "Draw two stills", "value": DRAW_EXAMPLE},
                "animate": {"summary": "Animate one of them", "value": ANIMATE_EXAMPLE},
            }
        ),
    ],
    response: Response,
    service: Served,
    principal: Asking,
    idempotency_key: Key = None,
) -> JobView:
    """Queue a job.  With an Idempotency-Key, sending it twice makes one job."""
    cost = checked_cost(service, principal, asked.job)
    found = _submit(service, principal, asked, cost, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{found.job.id}"
    response.status_code = 202 if found.is_new else 200
    return found.job


def _submit(
    service: Service, principal: Principal, asked: JobRequest, cost: float, key: str | None
) -> Submission:
    limits = SubmitLimits(
        max_waiting=service.limits.max_queue,
        max_waiting_of_owner=principal.limits.max_waiting,
        max_cost_of_owner=principal.limits.max_cost,
    )
    try:
        return service.queue.submit(
            asked.job,
            owner=principal.name,
            priority=asked.priority,
            cost=cost,
            idempotency_key=key,
            limits=limits,
        )
    except QueueFullError as error:
        service.metrics.refused("queue")
        raise ProblemError(QUEUE_FULL, str(error), retry_after=RETRY_SECONDS) from None
    except IdempotencyError:
        raise ProblemError(
            KEY_REUSED,
            f"The Idempotency-Key {key!a} was used for another job; take a new one.",
            field="Idempotency-Key",
        ) from None


@router.get("")
def listed(
    service: Served,
    principal: Asking,
    state: Annotated[list[JobState] | None, Query(max_length=7)] = None,
    kind: Annotated[str | None, Query(max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: After = None,
) -> JobPage:
    """Jobs, newest first; `next` of a page is the `after` of the following one."""
    return service.queue.list(
        states=state or None, owner=owner_filter(principal), kind=kind, before=after, limit=limit
    )


@router.get("/{job_id}")
def shown(job: Mine) -> JobView:
    """How a job stands."""
    return job


@router.patch("/{job_id}")
def change(
    job: Mine, asked: Annotated[JobChange, Body()], service: Served, principal: Asking
) -> JobView:
    """Edit, reprioritise, pause or resume a job that has not started."""
    queue = service.queue
    if asked.job is not None:
        cost = checked_cost(service, principal, asked.job)
        _check_cost(service, principal, job, cost)
        job = queue.edit(job.id, asked.job, cost=cost)
    if asked.priority is not None:
        job = queue.set_priority(job.id, asked.priority)
    if asked.paused is not None and asked.paused != (job.state == "paused"):
        job = queue.pause(job.id) if asked.paused else queue.resume(job.id)
    return job


def _check_cost(service: Service, principal: Principal, job: JobView, cost: float) -> None:
    """Raise ProblemError (429) if an edited job costs more than its owner has left."""
    others = (other.cost for other in service.queue.waiting(job.owner) if other.id != job.id)
    most = principal.limits.max_cost
    if job.owner == principal.name and sum(others) + cost > most:
        service.metrics.refused("queue")
        raise ProblemError(
            QUEUE_FULL,
            f"With this change your jobs that wait would cost more than {most:.3g}, the most that "
            "they may; try again when some have ended.",
            retry_after=RETRY_SECONDS,
        )


@router.delete("/{job_id}")
def cancel(
    job: Mine,
    service: Served,
    forget: Annotated[bool, Query(description="Of an ended job: forget that it was.")] = False,
) -> JobView:
    """Cancel a job: at once if it waits, at its next step if it runs."""
    if forget and job.state in ENDED:
        service.queue.delete(job.id)
        return job
    if job.state in ("cancelled", "cancelling"):
        return job
    return service.queue.cancel(job.id)


@router.post("/{job_id}/retry")
def retry(job: Mine, service: Served, principal: Asking) -> JobView:
    """Queue a job again that failed or was cancelled."""
    _check_room(service, principal, job)
    return service.queue.retry(job.id)


def _check_room(service: Service, principal: Principal, job: JobView) -> None:
    """Raise ProblemError (429) if another job may not wait now."""
    waiting = service.queue.waiting()
    mine = [other for other in waiting if other.owner == job.owner]
    full = len(waiting) >= service.limits.max_queue or (
        job.owner == principal.name and len(mine) >= principal.limits.max_waiting
    )
    if full:
        service.metrics.refused("queue")
        raise ProblemError(
            QUEUE_FULL,
            f"{len(waiting)} jobs wait, {len(mine)} of them yours; try again when fewer do.",
            retry_after=RETRY_SECONDS,
        )


@router.get(
    "/{job_id}/preview",
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": {"type": "string"}}}}},
)
def preview(job: Mine, service: Served) -> Response:
    """The latest preview of a job that runs, as PNG."""
    picture = service.queue.preview(job.id)
    if picture is None:
        raise ProblemError(NOT_FOUND, f"There is no preview of the job '{job.id}' now.")
    return Response(picture, media_type="image/png")


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `state`, then the queue's, then `end`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        429: {"model": ProblemDetails},
    },
)
async def events(
    job: Mine,
    service: Served,
    principal: Asking,
    last_event_id: EventNumber = "0",
    since: Number = 0,
) -> StreamingResponse:
    """Follow a job: progress, previews, its end.

    Goes on after the event `Last-Event-ID` (a header, which browsers send by themselves) or
    `since`.
    """
    service.streams.take(principal.name, principal.limits.max_streams)
    number = min(max(int(last_event_id), since), _LARGEST_NUMBER)
    return EventStream(service.hub.follow(job.id, number), service.streams, principal.name)


class EventStream(StreamingResponse):
    """A stream of events that gives its place back when it ends, however that is."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], places: Places, name: str) -> None:
        super().__init__(content, headers={"X-Accel-Buffering": "no"})
        self._content, self._places, self._name = content, places, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back(self._name)
            if hasattr(self._content, "aclose"):
                await self._content.aclose()
