"""Pictures and clips that users send: streamed to a file under a limit, then looked at.

What the client says of a file (its name, its type) is never used: the kind is what the bytes are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message

from stillmotion.server.limits import ServerLimits
from stillmotion.server.logs import tell
from stillmotion.server.probe import ProbeAnswer, ProbeRequest
from stillmotion.server.problems import BUSY, INVALID, TOO_LARGE, WRONG_TYPE, ProblemError

UploadKind = Literal["picture", "clip"]
FORM_FIELD = "file"
_BUFFER = 1 << 20
_RAW_TYPES = ("image/", "video/", "application/octet-stream")
_MAX_FIELDS = 4
_MAX_FIELD_BYTES = 1 << 12
_STARTING_SECONDS = 20
_PLAIN_BYTES_PER_PIXEL = 4
"""PNG may be a little larger than the pixels it holds."""


@dataclass(frozen=True)
class Probe:
    """Looks at uploads, a few at a time, each in a process of its own."""

    limits: ServerLimits
    places: asyncio.Semaphore

    @classmethod
    def under(cls, limits: ServerLimits) -> Probe:
        return cls(limits, asyncio.Semaphore(limits.max_probes))

    async def look(self, kind: UploadKind, path: Path, plain: Path | None = None) -> ProbeAnswer:
        """What the file is; of a picture the pixels are written to the new file `plain`.

        Raises ProblemError (422) if it cannot be taken.
        """
        asked = self._request(kind, path)
        async with self.places:
            if plain is None:
                answer = await _ask(asked)
            else:
                with _create(plain) as output:
                    answer = await _ask(replace(asked, output=output.fileno()))
        if answer.error is not None:
            raise ProblemError(INVALID, f"The {kind} {answer.error}.", field=FORM_FIELD)
        return answer

    def _request(self, kind: UploadKind, path: Path) -> ProbeRequest:
        limits = self.limits
        return ProbeRequest(
            kind=kind,
            path=str(path),
            max_pixels=limits.max_picture_pixels if kind == "picture" else limits.max_clip_pixels,
            max_frames=limits.max_clip_frames,
            seconds=limits.probe_seconds,
            num_bytes=limits.probe_bytes,
            output_bytes=_PLAIN_BYTES_PER_PIXEL * limits.max_picture_pixels,
        )

    def max_bytes(self, kind: UploadKind) -> int:
        """The largest file of this kind."""
        limits = self.limits
        return limits.max_picture_bytes if kind == "picture" else limits.max_clip_bytes


async def _ask(asked: ProbeRequest) -> ProbeAnswer:
    """Run the probe; whatever ends it early counts against the file."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stillmotion.server.probe"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_bare_environment(),
        pass_fds=() if asked.output is None else (asked.output,),
        cwd="/",
    )
    try:
        async with asyncio.timeout(asked.seconds + _STARTING_SECONDS):
            said, _ = await process.communicate(json.dumps(asdict(asked)).encode())
        return ProbeAnswer(**json.loads(said))
    except TimeoutError:
        return ProbeAnswer(error="takes too long to decode")
    except (ValueError, TypeError):
        tell("probe", ended=process.returncode)
        return ProbeAnswer(error="is damaged, or needs more time or memory than is allowed")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _bare_environment() -> dict[str, str]:
    """What Python needs to start, and nothing that might be a secret."""
    wanted = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL")
    return {name: os.environ[name] for name in wanted if name in os.environ} | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def watched(request: Request, check_room: Callable[[], None]) -> Request:
    """The same request, of which no more is read when the disk is nearly full.

    Forms are written to the disk by their parser, too.  Reading raises what `check_room` raises.
    """
    unchecked = _BUFFER  # so that the first look is before anything is read

    async def receive() -> Message:
        nonlocal unchecked
        if unchecked >= _BUFFER:
            await run_in_threadpool(check_room)
            unchecked = 0
        message = await request.receive()
        unchecked += len(message.get("body", b""))
        return message

    return Request(request.scope, receive)


async def save_upload(request: Request, path: Path, max_bytes: int) -> int:
    """Stream the file in a request, sent raw or as a form, to the new file `path`; its size.

    Raises ProblemError: 413 beyond `max_bytes`, 415 for other content, 422 if there is no file.
    """
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0]
    kind = kind.strip().lower()
    if kind == "multipart/form-data":
        size = await _save_form(request, path, max_bytes)
    elif kind.startswith(_RAW_TYPES):
        size = await _save(request.stream(), path, max_bytes)
    else:
        raise ProblemError(
            WRONG_TYPE,
            f"The Content-Type is {kind[:60]!a}; send the file as image/..., video/..., "
            f"application/octet-stream or as the part '{FORM_FIELD}' of multipart/form-data.",
        )
    if size == 0:
        raise ProblemError(INVALID, "The file is empty; send its bytes.", field=FORM_FIELD)
    return size


async def _save_form(request: Request, path: Path, max_bytes: int) -> int:
    async with request.form(
        max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
    ) as form:
        part = form.get(FORM_FIELD)
        if not isinstance(part, UploadFile):
            raise ProblemError(
                INVALID, f"The form has no file '{FORM_FIELD}'; name it so.", field=FORM_FIELD
            )
        return await _save(_chunks(part), path, max_bytes)


async def _chunks(part: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await part.read(_BUFFER):
        yield chunk


async def _save(chunks: AsyncIterator[bytes], path: Path, max_bytes: int) -> int:
    """Write chunks to a new file, counting."""
    size, waiting = 0, bytearray()
    target = await run_in_threadpool(_create, path)
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise ProblemError(
                    TOO_LARGE,
                    f"The file has more than {max_bytes} bytes, the most that is taken here.",
                    field=FORM_FIELD,
                )
            waiting += chunk
            if len(waiting) >= _BUFFER:
                await run_in_threadpool(target.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(target.write, bytes(waiting))
    except OSError as error:
        raise ProblemError(
            BUSY, "The disk has no room for the file; try again later.", retry_after=60
        ) from error
    finally:
        await run_in_threadpool(target.close)
    return size


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    return os.fdopen(descriptor, "wb")
