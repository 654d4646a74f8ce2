"""Pictures and clips that go into a job: a file on this machine, or an artifact of a library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from stillmotion.errors import InputError

ArtifactId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""32 hexadecimal digits that mean nothing."""


class FileSource(BaseModel):
    """Exactly one of `path` and `artifact`.

    A path is for those who have the machine's files before them: the command line and Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str | None = None
    """A file, or for clips also a folder of pictures, on the machine that makes the job."""
    artifact: ArtifactId | None = None
    """Something in the library of the queue that makes the job."""
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """What records call it; None is the name of the file."""

    @model_validator(mode="after")
    def _exactly_one(self) -> FileSource:
        if (self.path is None) == (self.artifact is None):
            raise ValueError("give exactly one of path and artifact")
        return self


def _from_path(said: Any) -> Any:
    """A `Path` is taken for what it names; text is not, so that no client means one by mistake."""
    return FileSource(path=str(said)) if isinstance(said, Path) else said


Source = Annotated[FileSource, BeforeValidator(_from_path)]
"""A field that is a picture or a clip."""


@dataclass(frozen=True)
class Found:
    """Where a source lies."""

    path: Path
    name: str
    """What records call it."""


Find = Callable[[FileSource], Found]
"""Finds a source.  Raises InputError if it is not there."""


def find_file(source: FileSource) -> Found:
    """Of a source that is a path.  Raises InputError for an artifact, or if nothing is there."""
    if source.path is None:
        raise InputError(
            f"'{source.artifact}' is in a library, but no library is at hand here; give a file."
        )
    path = Path(source.path)
    if not path.exists():
        raise InputError(f"there is no '{path}'; check the name.")
    return Found(path, source.name or path.name)
