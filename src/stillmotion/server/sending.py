"""/v1/pictures and /v1/clips: what users send, to be named by its id in jobs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from stillmotion.queueing.library import Library
from stillmotion.queueing.uploads import ClipFacts
from stillmotion.queueing.views import Artifact
from stillmotion.server.probe import ProbeAnswer
from stillmotion.server.service import Asking, Served, Service
from stillmotion.server.tokens import Principal
from stillmotion.server.uploads import FORM_FIELD, UploadKind, save_upload, watched

router = APIRouter(prefix="/v1", tags=["uploads"])
_BINARY = {"schema": {"type": "string", "format": "binary"}}


def _body(*types: str) -> dict[str, Any]:
    """What OpenAPI says of a body that is a file, raw or in a form."""
    form = {
        "schema": {
            "type": "object",
            "required": [FORM_FIELD],
            "properties": {FORM_FIELD: _BINARY["schema"]},
        }
    }
    content = dict.fromkeys((*types, "application/octet-stream"), _BINARY)
    return {"requestBody": {"required": True, "content": content | {"multipart/form-data": form}}}


@router.post(
    "/pictures", status_code=201, openapi_extra=_body("image/png", "image/jpeg", "image/webp")
)
async def picture(request: Request, service: Served, principal: Asking) -> Artifact:
    """Send a PNG, JPEG or WebP.  It is kept as PNG: its pixels, upright, and nothing else of it."""
    return await receive(request, service, principal, "picture")


@router.post("/clips", status_code=201, openapi_extra=_body("video/mp4", "video/webm", "image/gif"))
async def clip(request: Request, service: Served, principal: Asking) -> Artifact:
    """Send an MP4, WebM, GIF or WebP clip, to be edited or scored."""
    return await receive(request, service, principal, "clip")


async def receive(
    request: Request, service: Service, principal: Principal, kind: UploadKind
) -> Artifact:
    """Stream a file in, look at it in a confined process, and take it into the library.

    Raises ProblemError; nothing of a refused file is kept.
    """
    with service.uploads.place(principal.name, principal.limits.max_uploads):
        return await _receive(request, service, principal, kind)


async def _receive(
    request: Request, service: Service, principal: Principal, kind: UploadKind
) -> Artifact:
    given = await run_in_threadpool(service.library.incoming)
    request = watched(request, lambda: service.check_room(given.parent))
    plain = given.with_name(f"{given.name}.png")
    try:
        size = await save_upload(request, given, service.probe.max_bytes(kind))
        answer = await service.probe.look(kind, given, plain if kind == "picture" else None)
        if kind == "picture":
            await run_in_threadpool(given.unlink)
        taken = plain if kind == "picture" else given
        found: Artifact = await run_in_threadpool(
            keep, service.library, kind, taken, answer, principal.name
        )
    finally:
        await run_in_threadpool(_clear, given, plain)
    service.metrics.uploaded(size)
    await run_in_threadpool(service.library.make_room)
    return found


def keep(
    library: Library, kind: UploadKind, path: Path, answer: ProbeAnswer, owner: str
) -> Artifact:
    """The file that was looked at, as an artifact; its name is one of ours."""
    name = f"{kind}{answer.suffix}"
    if kind == "picture":
        return library.add_picture(path, name=name, owner=owner)
    facts = ClipFacts(
        ending=answer.suffix.removeprefix("."),
        content_type=answer.content_type,
        width=answer.width,
        height=answer.height,
        num_frames=answer.num_frames,
        thumbnail=base64.b64decode(answer.thumbnail),
    )
    return library.add_clip(path, name=name, owner=owner, probe=lambda _: facts)


def _clear(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
