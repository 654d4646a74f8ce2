"""Health, readiness, numbers, models, and what a job may be."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from stillmotion.jobs.model import job_schema
from stillmotion.models.registry import KnownModel, known_models
from stillmotion.server.metrics import CONTENT_TYPE
from stillmotion.server.problems import BUSY, ProblemError
from stillmotion.server.service import Served, Service
from stillmotion.server.views import Health, ModelAnswer, ModelList, Readiness

router = APIRouter(tags=["about"])


@router.get("/healthz")
async def health() -> Health:
    """That the server lives; answered without a token."""
    return Health()


@router.get("/readyz")
def ready(service: Served) -> Readiness:
    """That the queue can be read and somebody makes jobs; answered without a token."""
    try:
        service.queue.last_event()  # cheap, since anybody may ask
    except Exception:
        raise ProblemError(
            BUSY, "The queue cannot be read; try again later.", retry_after=5
        ) from None
    workers = service.engine.alive() if service.engine is not None else None
    if workers == 0:
        raise ProblemError(BUSY, "No worker is alive; try again later.", retry_after=5)
    return Readiness(workers=workers)


@router.get("/v1/models")
def models(service: Served) -> ModelList:
    """The models that jobs may name."""
    return ModelList(models=offered(service))


def offered(service: Service) -> tuple[ModelAnswer, ...]:
    """What is known of each allowed model, in the order of their names."""
    known = {model.name: model for model in known_models()}
    return tuple(_told(name, known.get(name)) for name in sorted(service.allowed_models))


def _told(name: str, model: KnownModel | None) -> ModelAnswer:
    if model is None:
        return ModelAnswer(name=name, origin="named", ready=True)
    says = model.description
    return ModelAnswer(
        name=name,
        origin=model.origin,
        ready=model.folder is not None,
        # The sentence may name folders of this machine: only that something lacks is told.
        lacks=None if model.lacks is None else "It is not on the server's machine.",
        width=says.width,
        height=says.height,
        looks=tuple(says.looks),
    )


@router.get("/v1/schema")
def schema() -> dict[str, Any]:
    """JSON schema of a job."""
    return job_schema()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(service: Served) -> Response:
    """Numbers for Prometheus."""
    page = service.metrics.page(service.queue.state().counts)
    return Response(page, media_type=CONTENT_TYPE)
