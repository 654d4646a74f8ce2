"""/v1/artifacts: the gallery, downloads by ranges, deletion."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import FileResponse

from stillmotion.queueing.views import Artifact, ArtifactPage, NoSuchArtifactError
from stillmotion.server.costs import may_see
from stillmotion.server.problems import BAD_RANGE, NOT_FOUND, ProblemError
from stillmotion.server.service import Asking, Served, owner_filter
from stillmotion.server.views import MAX_PAGE, ArtifactKinds, HexId

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])
_ONE_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_SHOWN_IN_PLACE = ("image/", "video/")
_A_FILE = {"schema": {"type": "string", "format": "binary"}}
_LARGEST_NUMBER = 2**63 - 1


def artifact_of(artifact_id: HexId, service: Served, principal: Asking) -> Artifact:
    """An artifact that one may see.  Raises ProblemError (404)."""
    try:
        found = service.library.get(artifact_id)
    except NoSuchArtifactError:
        raise _no_such_artifact(artifact_id) from None
    if not may_see(principal, found):
        raise _no_such_artifact(artifact_id)
    return found


Mine = Annotated[Artifact, Depends(artifact_of)]


def _no_such_artifact(artifact_id: str) -> ProblemError:
    return ProblemError(
        NOT_FOUND, f"There is no artifact '{artifact_id}'; GET /v1/artifacts lists yours."
    )


@router.get("")
def listed(
    service: Served,
    principal: Asking,
    kind: ArtifactKinds | None = None,
    job: HexId | None = None,
    companions: Annotated[
        bool, Query(description="Also latents and records, which belong to a still or clip.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    after: Annotated[int | None, Query(ge=0, le=_LARGEST_NUMBER)] = None,
) -> ArtifactPage:
    """The gallery, newest first; `next` of a page is the `after` of the following one."""
    return service.library.list(
        kind=kind,
        owner=owner_filter(principal),
        job_id=job,
        mains_only=not companions,
        before=after,
        limit=limit,
    )


@router.get("/{artifact_id}/about")
def about(artifact: Mine) -> Artifact:
    """What an artifact is."""
    return artifact


@router.get(
    "/{artifact_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/webp": _A_FILE}}},
)
def thumbnail(artifact: Mine, service: Served) -> Response:
    """A small picture of it, as WebP."""
    picture = service.library.thumbnail(artifact.id)
    if picture is None:
        raise ProblemError(NOT_FOUND, f"The artifact '{artifact.id}' has no thumbnail.")
    return Response(picture, media_type="image/webp", headers=_caching(f"{artifact.sha256}-small"))


@router.head("/{artifact_id}", include_in_schema=False)
@router.get(
    "/{artifact_id}",
    response_class=FileResponse,
    responses={
        200: {"content": {"*/*": _A_FILE}},
        206: {"description": "A part of it.", "content": {"*/*": _A_FILE}},
        304: {"description": "It is the one that the client has."},
    },
)
def download(
    artifact: Mine,
    service: Served,
    request: Request,
    inline: Annotated[
        bool, Query(description="To be shown in place, which only pictures and clips can be.")
    ] = False,
) -> Response:
    """The file itself; Range, If-Range and If-None-Match are heeded."""
    headers = _caching(artifact.sha256)
    if _has(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    path = service.library.path(artifact.id)
    try:
        status = path.stat()
    except OSError:
        raise _no_such_artifact(artifact.id) from None
    _settle_range(request, status.st_size)
    shown = inline and artifact.content_type.startswith(_SHOWN_IN_PLACE)
    return FileResponse(
        path,
        headers=headers,
        media_type=artifact.content_type,
        filename=artifact.name,
        stat_result=status,
        content_disposition_type="inline" if shown else "attachment",
    )


@router.delete("/{artifact_id}", status_code=204, response_class=Response)
def delete(artifact: Mine, service: Served) -> Response:
    """Delete a result or an upload, with what belongs to it."""
    service.library.delete(artifact.id)
    return Response(status_code=204)


def _caching(version: str) -> dict[str, str]:
    """An artifact never changes: one's own browser may keep it, but asks first."""
    return {"ETag": f'"{version}"', "Cache-Control": "private, no-cache"}


def _has(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names this version."""
    given = [part.strip().removeprefix("W/") for part in (header or "").split(",")]
    return "*" in given or etag in given


def _settle_range(request: Request, size: int) -> None:
    """Leave in the request only a range that is one and lies in the file.

    As RFC 9110 has it, what is not understood is passed over (here also several ranges at once,
    whose answer can be far larger than the file).  Raises ProblemError (416) for a range beyond
    the end, unless If-Range shows that it is one of another version.
    """
    given = request.headers.get("range")
    if given is None:
        return
    match = _ONE_RANGE.fullmatch(given.strip())
    first, last = match.groups() if match else ("", "")
    backwards = bool(first and last) and int(last) < int(first)
    if match is None or not (first or last) or backwards:
        scope_headers = request.scope["headers"]
        request.scope["headers"] = [pair for pair in scope_headers if pair[0] != b"range"]
        return
    beyond = int(first) >= size if first else int(last) == 0 or size == 0
    if beyond and "if-range" not in request.headers:
        raise ProblemError(
            BAD_RANGE,
            f"The range {given[:60]!a} is beyond the file, which has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
