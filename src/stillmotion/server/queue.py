"""/v1/queue: the queue as a whole."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body

from stillmotion.queueing.views import JobView, QueueState
from stillmotion.server.problems import INVALID, ProblemError
from stillmotion.server.service import Admin, Served
from stillmotion.server.views import OrderRequest

router = APIRouter(prefix="/v1/queue", tags=["queue"])


@router.get("")
def shown(service: Served, admin: Admin) -> QueueState:
    """How many jobs there are of each state, and whether the queue is paused."""
    return service.queue.state()


@router.post("/pause")
def pause(service: Served, admin: Admin) -> QueueState:
    """Let no further job start; those that run go on."""
    return service.queue.pause_all()


@router.post("/resume")
def resume(service: Served, admin: Admin) -> QueueState:
    """Let jobs start again."""
    return service.queue.resume_all()


@router.post("/order")
def order(asked: Annotated[OrderRequest, Body()], service: Served, admin: Admin) -> JobView:
    """Move a waiting job before or after another one, whose priority it takes."""
    if (asked.before is None) == (asked.after is None):
        raise ProblemError(INVALID, "Give exactly one of before and after.", field="before")
    return service.queue.move(asked.id, before=asked.before, after=asked.after)
