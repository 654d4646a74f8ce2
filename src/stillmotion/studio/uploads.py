"""A file that was dropped into the page: looked at in a confined process, then in the library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from stillmotion.queueing.views import Artifact
from stillmotion.server.sending import keep
from stillmotion.server.uploads import UploadKind
from stillmotion.studio.desk import Desk, Refusal, refusing


async def take_in(desk: Desk, kind: UploadKind, field: str, file: str | None) -> Artifact:
    """The picture or clip in `file`, which goes.  Raises Refusal with `field`.

    Of a picture only its pixels are kept, upright.  What the browser calls the file is not used.
    """
    if not file:
        raise Refusal(field, "No file arrived; drop it in again.")
    given = desk.library.incoming()
    plain = given.with_name(f"{given.name}.png")
    try:
        await run_in_threadpool(_move, Path(file), given)
        _check_size(desk, kind, field, given)
        with refusing():
            probe = desk.service.probe
            answer = await probe.look(kind, given, plain if kind == "picture" else None)
            taken = plain if kind == "picture" else given
            return await run_in_threadpool(
                keep, desk.library, kind, taken, answer, desk.principal.name
            )
    except Refusal as refusal:
        raise Refusal(field, refusal.sentence) from refusal
    finally:
        given.unlink(missing_ok=True)
        plain.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    shutil.move(source, target)
    folder = source.parent
    if not os.listdir(folder):
        folder.rmdir()


def _check_size(desk: Desk, kind: UploadKind, field: str, path: Path) -> None:
    size, most = path.stat().st_size, desk.service.probe.max_bytes(kind)
    if size > most:
        raise Refusal(field, f"The file has {size} bytes; at most {most} are taken here.")
    if size == 0:
        raise Refusal(field, "The file is empty; drop in another.")
