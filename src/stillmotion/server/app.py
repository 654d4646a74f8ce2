"""The application: routes, and around them the guards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from stillmotion import __version__
from stillmotion.errors import StillmotionError
from stillmotion.server import about, artifacts, jobs, queue, sending
from stillmotion.server.bodies import BodyGuard
from stillmotion.server.guards import OPEN_PATHS, HostCheck, OriginCheck, TokenCheck
from stillmotion.server.problems import MEDIA_TYPE, ProblemDetails, answer_problem
from stillmotion.server.rates import Places
from stillmotion.server.service import Service
from stillmotion.server.shared import PLACE_SECONDS
from stillmotion.server.shield import Shield

_DESCRIPTION = """\
Stills and clips made by a queue of jobs.

Submit a job with `POST /v1/jobs`, follow it with `GET /v1/jobs/{job_id}/events`, fetch what it made
with `GET /v1/artifacts/{artifact_id}`. Pictures go in by `POST /v1/pictures` and are named by id.
Every refusal is problem details (RFC 9457) with one sentence in `detail`.
"""
_PROBLEM = {"description": "Refused; `detail` says why.", "model": ProblemDetails}


def create_app(service: Service, *, mounted: tuple[str, ...] = ()) -> FastAPI:
    """The server as an ASGI application.

    `mounted`: paths of pages that the caller mounts beside the API: they are behind the same
    guards, but set a content policy of their own.
    """
    app = FastAPI(
        title="stillmotion",
        version=__version__,
        description=_DESCRIPTION,
        # Those pages fetch scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses={"default": _PROBLEM},
        middleware=_guards(service, mounted),
    )
    app.state.service = service
    for error in (HTTPException, RequestValidationError, StillmotionError):
        app.add_exception_handler(error, answer_problem)
    for part in (jobs, queue, artifacts, sending, about):
        app.include_router(part.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _guards(service: Service, mounted: tuple[str, ...]) -> list[Middleware]:
    """From the outside in."""
    return [
        Middleware(Shield, metrics=service.metrics, mounted=mounted),
        Middleware(HostCheck, allowed=service.hosts),
        Middleware(OriginCheck),
        Middleware(
            TokenCheck,
            book=service.book,
            rates=service.rates,
            requests=service.requests,
            metrics=service.metrics,
        ),
        Middleware(BodyGuard, limits=service.limits, mounted=mounted),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    keeper = asyncio.create_task(_keep_places(service.streams))
    try:
        yield
    finally:
        keeper.cancel()
        service.hub.close()


async def _keep_places(places: Places) -> None:
    """Other processes take places for given back that nobody speaks of for a while."""
    while True:
        await asyncio.sleep(PLACE_SECONDS / 3)
        await run_in_threadpool(places.keep)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The description of the API, with problem details as what they are, and the tokens."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for path, methods in found["paths"].items():
        for operation in methods.values():
            refused = operation["responses"].get("default", {}).get("content", {})
            if "application/json" in refused:
                refused[MEDIA_TYPE] = refused.pop("application/json")
            if path in OPEN_PATHS:
                operation["security"] = []
    app.openapi_schema = found
    return found
