"""Routes beside the page: its style and script, clips in other formats, a page for a user study."""

from __future__ import annotations

import base64
import shutil
import threading
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from fastapi import APIRouter, Response
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse

from stillmotion.errors import StillmotionError
from stillmotion.media.clips import read_provenance, save_clip
from stillmotion.media.images import write_picture
from stillmotion.media.reading import read_frames
from stillmotion.queueing.views import JobView
from stillmotion.server.artifacts import Mine
from stillmotion.server.problems import BUSY, CONFLICT, NOT_FOUND, ProblemError
from stillmotion.server.service import Asking, Served
from stillmotion.server.views import HexId
from stillmotion.studio.desk import Desk

FILES = "/studio-files"
STUDY = "/study"
Conversion = Literal["mp4", "gif", "webp", "webm", "frames"]
CONVERTED: dict[Conversion, str] = {
    "mp4": "MP4", "gif": "GIF", "webp": "WebP", "webm": "WebM", "frames": "PNG frames (zip)",
}  # fmt: skip
"""Formats that a clip can be had in, though it was made in another."""
assert set(CONVERTED) == set(get_args(Conversion))
_TYPES = {"css": "text/css", "js": "text/javascript"}
_NOTHING = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A GIF of one transparent pixel."""
_ONE_AT_A_TIME = threading.Semaphore(1)
_PATIENCE_S = 30
_STUDY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def preview_address(job: JobView) -> str:
    """Where the latest preview of a job is; another address when there is another."""
    return f"{FILES}/previews/{job.id}?at={job.progress:.4f}"


def convert_address(artifact_id: str, conversion: str) -> str:
    """Where a clip is had in another format."""
    return f"{FILES}/clips/{artifact_id}/{conversion}"


def router_of(study: Path | None) -> APIRouter:
    """The routes; `study` is a page that `stillmotion study build` wrote."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route(f"{FILES}/studio.{{kind}}", _file, methods=["GET"])
    router.add_api_route(f"{FILES}/clips/{{artifact_id}}/{{conversion}}", _converted)
    router.add_api_route(f"{FILES}/previews/{{job_id}}", _preview)
    if study is not None:
        page = study.read_text(encoding="utf-8")

        def show() -> HTMLResponse:
            return HTMLResponse(page, headers={"Content-Security-Policy": _STUDY_POLICY})

        router.add_api_route(STUDY, show)
    return router


def _file(kind: Literal["css", "js"]) -> Response:
    """The page's own style and script."""
    content = files("stillmotion.studio").joinpath(f"studio.{kind}").read_bytes()
    return Response(content, media_type=_TYPES[kind], headers={"Cache-Control": "no-cache"})


def _preview(job_id: HexId, service: Served, principal: Asking) -> Response:
    """The latest preview of a job, or nothing to be seen: it may end while the page asks."""
    jobs = Desk(service, principal).jobs([job_id])
    picture = service.queue.preview(job_id) if jobs else None
    headers = {"Cache-Control": "no-store"}
    if picture is None:
        return Response(_NOTHING, media_type="image/gif", headers=headers)
    return Response(picture, media_type="image/png", headers=headers)


def _converted(artifact: Mine, conversion: Conversion, service: Served) -> Response:
    """A clip in another format, made now from the one there is.  Raises ProblemError."""
    if artifact.kind != "clip" or artifact.job_id is None:
        # What users sent is decoded in a confined process alone.
        raise ProblemError(NOT_FOUND, f"The artifact '{artifact.id}' is no clip made here.")
    source = service.library.path(artifact.id)
    if source.suffix == ".zip":
        raise ProblemError(CONFLICT, "The frames of this clip are packed; reproduce it as a clip.")
    if not _ONE_AT_A_TIME.acquire(timeout=_PATIENCE_S):
        raise ProblemError(BUSY, "Other clips are being converted; try again.", retry_after=10)
    folder = service.library.incoming()
    try:
        folder.mkdir()
        made = convert(source, folder, conversion)
    except StillmotionError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        _ONE_AT_A_TIME.release()
    name = f"{Path(artifact.name).stem}{made.suffix}"
    return FileResponse(
        made, filename=name, background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    )


def convert(source: Path, folder: Path, conversion: str) -> Path:
    """The frames of a clip in another format, with its record where it has one.

    Raises InputError if the clip cannot be read.
    """
    clip = read_frames(source)
    if conversion == "frames":
        return _packed(clip.frames, folder)
    target = folder / f"clip.{conversion}"
    save_clip(clip.frames, target, fps=clip.fps, provenance=read_provenance(source))
    return target


def _packed(frames: Any, folder: Path) -> Path:
    target = folder / "frames.zip"
    digits = len(str(len(frames)))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for index, frame in enumerate(frames):
            picture = folder / f"{index:0{digits}}.png"
            write_picture(frame, picture, format="PNG")
            packed.write(picture, picture.name)
    return target
