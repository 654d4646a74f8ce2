"""/v1/jobs: submit, look, change, cancel, follow."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from stillmotion.queueing.changing import Change
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
    INVALID,
    KEY_REUSED,
    NOT_FOUND,
    QUEUE_FULL,
    ProblemDetails,
    ProblemError,
    as_sentence,
)
from stillmotion.server.rates import Places
from stillmotion.server.service import Asking, Served, Service, owner_filter
from stillmotion.server.tokens import Principal, TokenBook
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
    service.check_room(service.library.folder)
    _check_priority(principal, asked.priority)
    cost = checked_cost(service, principal, asked.job)
    found = _submit(service, principal, asked, cost, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{found.job.id}"
    response.status_code = 202 if found.is_new else 200
    return found.job


def _submit(
    service: Service, principal: Principal, asked: JobRequest, cost: float, key: str | None
) -> Submission:
    try:
        with _told_when_full(service):
            return service.queue.submit(
                asked.job,
                owner=principal.name,
                priority=asked.priority,
                cost=cost,
                idempotency_key=key,
                limits=service.submit_limits(principal, principal.name),
            )
    except IdempotencyError:
        raise ProblemError(
            KEY_REUSED,
            f"The Idempotency-Key {key!a} was used for another job; take a new one.",
            field="Idempotency-Key",
        ) from None


def _check_priority(principal: Principal, priority: int) -> None:
    most = principal.limits.max_priority
    if priority > most:
        raise ProblemError(
            INVALID,
            f"priority is {priority}; at most {most} is allowed to this token.",
            field="priority",
        )


@contextmanager
def _told_when_full(service: Service) -> Iterator[None]:
    """Turn a full queue into ProblemError (429), and count it."""
    try:
        yield
    except QueueFullError as error:
        service.metrics.refused("queue")
        raise ProblemError(QUEUE_FULL, as_sentence(error), retry_after=RETRY_SECONDS) from None


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
    """Edit, reprioritise, pause or resume a job that has not started: all at once, or nothing."""
    if asked.priority is not None:
        _check_priority(principal, asked.priority)
    cost = None if asked.job is None else checked_cost(service, principal, asked.job)
    wanted = Change(
        job=asked.job,
        cost=cost,
        priority=asked.priority,
        paused=asked.paused,
        limits=service.submit_limits(principal, job.owner),
    )
    with _told_when_full(service):
        return service.queue.change(job.id, wanted)


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
    with _told_when_full(service):
        return service.queue.retry(job.id, limits=service.submit_limits(principal, job.owner))


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
    frames = service.hub.follow(job.id, number)
    if service.book is not None:
        frames = _while_known(frames, service.book, principal)
    return EventStream(frames, service.streams, principal.name)


async def _while_known(
    frames: AsyncGenerator[bytes], book: TokenBook, principal: Principal
) -> AsyncGenerator[bytes]:
    """End a stream whose token was taken back: at its next event, or ping, of each 15 s."""
    async with aclosing(frames):
        async for frame in frames:
            if not book.knows(principal):
                return
            yield frame


class EventStream(StreamingResponse):
    """A stream of events that gives its place back when it ends, however that is."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncGenerator[bytes], places: Places, name: str) -> None:
        super().__init__(content, headers={"X-Accel-Buffering": "no"})
        self._content, self._places, self._name = content, places, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back(self._name)
            await self._content.aclose()
