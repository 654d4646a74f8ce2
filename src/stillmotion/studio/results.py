"""What one does with a result: go on from its last frame, read its record, make it again."""

from __future__ import annotations

import json
from typing import Any

from stillmotion.jobs.model import AnyJob, parse_job
from stillmotion.media.images import write_picture
from stillmotion.media.reading import read_frames
from stillmotion.queueing.views import Artifact
from stillmotion.studio.desk import Desk, Refusal, refusing


def last_frame(desk: Desk, artifact_id: str) -> Artifact:
    """The last frame of a clip, as a picture of its own in the library.  Raises Refusal."""
    clip = desk.artifact(artifact_id)
    if clip.kind != "clip":
        raise Refusal("", "That is not a clip, so it has no last frame.")
    path = desk.library.path(clip.id)
    if path.suffix == ".zip":
        raise Refusal("", "Its frames are packed; unpack them and drop in the last one.")
    taken = desk.library.incoming()
    try:
        with refusing():
            frames = read_frames(path).frames
            write_picture(frames[-1], taken, format="PNG")
            name = f"last frame of {clip.name}.png"
            return desk.library.add_picture(taken, name=name, owner=desk.principal.name)
    finally:
        taken.unlink(missing_ok=True)


def record_of(desk: Desk, artifact_id: str) -> dict[str, Any] | None:
    """What is written of how a still or clip was made; None if nothing is."""
    artifact = desk.artifact(artifact_id)
    for companion in desk.library.companions(artifact.id):
        if companion.kind == "record":
            text = desk.library.path(companion.id).read_text(encoding="utf-8")
            found = json.loads(text)
            return found if isinstance(found, dict) else None
    return None


def again(desk: Desk, artifact_id: str) -> tuple[AnyJob, ...]:
    """The job that made a still or clip, as it was, seed and all.  Raises Refusal."""
    artifact = desk.artifact(artifact_id)
    if artifact.job_id is None:
        raise Refusal("", "That was dropped in, not made here, so it cannot be made again.")
    job = desk.jobs([artifact.job_id])
    if job:
        with refusing():
            return (parse_job(job[0].job),)
    if artifact.kind != "clip":
        raise Refusal("", "The job that made it was forgotten; draw it by what its settings say.")
    with refusing():
        return (parse_job({"kind": "animate", "from_clip": {"artifact": artifact.id}}),)


def same_as(desk: Desk, artifact: Artifact, earlier: list[Artifact]) -> bool:
    """Whether one of `earlier` has the same bytes."""
    return any(other.sha256 == artifact.sha256 for other in earlier if other.id != artifact.id)
