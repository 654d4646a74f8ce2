"""What requests and answers hold, beside jobs and artifacts themselves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stillmotion.jobs.model import Job
from stillmotion.queueing.views import ArtifactKind, JobState
from stillmotion.server.limits import MAX_PRIORITY

HexId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0" * 32])]
"""How jobs and artifacts are called: 32 hexadecimal digits that mean nothing."""
MAX_PAGE = 200
Priority = Annotated[
    int,
    Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher is sooner; 0 is usual."),
]
DRAW_EXAMPLE = {
    "job": {"kind": "draw", "prompt": "a red balloon over green hills", "count": 2, "seed": 7}
}
ANIMATE_EXAMPLE = {
    "job": {
        "kind": "animate",
        "still": {"artifact": "0123456789abcdef0123456789abcdef"},
        "prompt": "a red balloon rising over green hills",
        "frames": 16,
        "format": "mp4",
    },
    "priority": 5,
}


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JobRequest(_Request):
    """A job to be queued."""

    job: Job
    priority: Priority = 0


class JobChange(_Request):
    """What is to be different about a job that has not started; what is left out stays."""

    job: Job | None = None
    priority: Priority | None = None
    paused: bool | None = None


class OrderRequest(_Request):
    """Where a waiting job is to stand: before or after another one."""

    id: HexId
    before: HexId | None = None
    after: HexId | None = None


def _known_states(states: list[JobState]) -> list[JobState]:
    return sorted(set(states))


States = Annotated[list[JobState], AfterValidator(_known_states)]


class ModelAnswer(BaseModel):
    """A model that jobs may name."""

    name: str
    origin: Literal["package", "catalogue", "user", "named"]
    """`named`: allowed by the operator, and none of the known ones."""
    ready: bool
    lacks: str | None = None
    """Why it cannot be used now."""
    width: int | None = None
    height: int | None = None
    looks: tuple[str, ...] = ()


class ModelList(BaseModel):
    """All models that jobs may name."""

    models: tuple[ModelAnswer, ...]


class Health(BaseModel):
    """That the server lives."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """That jobs are taken and made."""

    status: Literal["ready"] = "ready"
    workers: int | None = None
    """How many make jobs; None if others do than those that this server started."""


Schema = dict[str, Any]
ArtifactKinds = ArtifactKind
