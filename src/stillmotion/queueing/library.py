"""What was made and what users gave: found by opaque ids, listed, pinned, deleted.

library = Library(folder, max_bytes=50 * 10**9)
page = library.list(kind="clip")
path = library.path(page.artifacts[0].id)
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stillmotion.errors import InputError
from stillmotion.jobs.sources import FileSource, Found
from stillmotion.queueing.database import Database
from stillmotion.queueing.rows import ARTIFACTS, artifact_view, find_artifact
from stillmotion.queueing.storing import (
    FILES,
    INCOMING,
    Origin,
    publish,
    remove_files,
    settle,
    sweep,
)
from stillmotion.queueing.uploads import (
    MAX_PICTURE_PIXELS,
    ClipFacts,
    clip_artifact,
    plain_picture,
    probe_clip,
)
from stillmotion.queueing.views import (
    Artifact,
    ArtifactKind,
    ArtifactPage,
    Clock,
    NewArtifact,
    NoSuchArtifactError,
    StateError,
)

MAX_PAGE = 500


class Library:
    """The library in a folder, which is made if it is not there.

    `max_bytes` is how much it may hold: of what is more, the oldest goes (`make_room`).  Raises
    OutputError if the folder cannot be made, InputError if a newer version wrote it.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int | None = None, clock: Clock = time.time
    ) -> None:
        self._database = Database(folder)
        self._root, self._max_bytes, self._clock = folder, max_bytes, clock

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self._root

    def get(self, artifact_id: str) -> Artifact:
        """One artifact.  Raises NoSuchArtifactError, as all that take an id."""
        return artifact_view(find_artifact(self._database.connection(), artifact_id))

    def path(self, artifact_id: str) -> Path:
        """Where its file is; never outside the library.  Not to be written to."""
        row = find_artifact(self._database.connection(), artifact_id)
        home = (self._root / FILES).resolve()
        path: Path = (home / row["folder"] / row["name"]).resolve()
        if not path.is_relative_to(home) or not path.is_file():
            raise NoSuchArtifactError(f"the file of artifact '{artifact_id}' is gone.")
        return path

    def find(self, source: FileSource) -> Found:
        """What a job takes.  Raises InputError for a path: files outside are not the library's."""
        if source.artifact is None:
            raise InputError(
                "a job of a library takes its pictures and clips from there, by their ids; give "
                "artifact, not path."
            )
        return Found(self.path(source.artifact), source.name or self.get(source.artifact).name)

    def list(
        self,
        *,
        kind: ArtifactKind | None = None,
        owner: str | None = None,
        job_id: str | None = None,
        mains_only: bool = True,
        before: int | None = None,
        limit: int = 50,
    ) -> ArtifactPage:
        """Artifacts, newest first; `before` is `next` of the page before.

        With `mains_only` without latents, records and what else belongs to another.
        """
        asked: dict[str, Any] = {
            "artifacts.kind = ?": kind,
            "artifacts.owner = ?": owner,
            "artifacts.job_id = ?": job_id,
            "artifacts.number < ?": before,
        }
        given = {words: value for words, value in asked.items() if value is not None}
        where = [*given, *(["artifacts.main IS NULL"] if mains_only else [])]
        count = max(1, min(limit, MAX_PAGE))
        rows = self._database.rows(
            f"{ARTIFACTS} WHERE {' AND '.join(where) or '1'} "
            "ORDER BY artifacts.number DESC LIMIT ?",
            *given.values(), count + 1,
        )  # fmt: skip
        shown = rows[:count]
        return ArtifactPage(
            artifacts=tuple(artifact_view(row) for row in shown),
            next=shown[-1]["number"] if len(rows) > count else None,
        )

    def companions(self, artifact_id: str) -> tuple[Artifact, ...]:
        """What belongs to a still or clip: its latents, its record."""
        find_artifact(self._database.connection(), artifact_id)
        rows = self._database.rows(
            f"{ARTIFACTS} WHERE artifacts.main = ? ORDER BY artifacts.number", artifact_id
        )
        return tuple(artifact_view(row) for row in rows)

    def thumbnail(self, artifact_id: str) -> bytes | None:
        """A small picture (WebP) of it, if there is one."""
        find_artifact(self._database.connection(), artifact_id)
        row = self._database.row("SELECT image FROM thumbnails WHERE artifact_id = ?", artifact_id)
        return None if row is None else bytes(row["image"])

    def pin(self, artifact_id: str, pinned: bool) -> Artifact:
        """A pinned one never has to make room."""
        with self._database.writing() as connection:
            find_artifact(connection, artifact_id)
            connection.execute(
                "UPDATE artifacts SET pinned = ? WHERE id = ?", (int(pinned), artifact_id)
            )
            return artifact_view(find_artifact(connection, artifact_id))

    def delete(self, artifact_id: str) -> None:
        """Delete it and what belongs to it.

        Raises StateError while a job that waits or runs takes it.
        """
        with self._database.writing() as connection:
            find_artifact(connection, artifact_id)
            if _is_needed(connection, artifact_id):
                raise StateError(
                    f"a job that waits or runs takes the artifact '{artifact_id}'; cancel that job "
                    "first, or wait until it has ended."
                )
            files = _remove_rows(connection, artifact_id)
        remove_files(self._root, files)

    def incoming(self) -> Path:
        """A new path for a file that is being received, to be given to `add_picture` or `add_clip`.

        The file is not made.  Whoever does not give it away deletes it.
        """
        folder = self._root / INCOMING
        folder.mkdir(exist_ok=True)
        return folder / uuid.uuid4().hex

    def add_picture(
        self, path: Path, *, name: str, owner: str = "", max_pixels: int = MAX_PICTURE_PIXELS
    ) -> Artifact:
        """Take in the pixels of a picture that a user gives, upright, as a PNG; its file goes.

        Whatever else was in the file is left out: notes of cameras, and records, which could name
        models.  `name` may be anything: of it only what is harmless is kept.  Raises InputError
        for what is no PNG, JPEG or WebP picture, or has more than `max_pixels`; the file stays
        then.
        """
        return self._add(path, plain_picture(path, name, max_pixels), owner)

    def add_clip(
        self,
        path: Path,
        *,
        name: str,
        owner: str = "",
        probe: Callable[[Path], ClipFacts] = probe_clip,
    ) -> Artifact:
        """Take in a clip that a user gives; its file is moved.

        `probe` looks at the file, which can be hostile: give one that does so in a process with
        limits where users are not trusted.  Raises InputError for what `probe` refuses; the file
        stays then.
        """
        return self._add(path, clip_artifact(path, name, probe(path)), owner)

    def used_bytes(self) -> int:
        """Of all files."""
        row = self._database.row("SELECT TOTAL(size) AS size FROM artifacts")
        assert row is not None
        return int(row["size"])

    def sweep(self) -> int:
        """Delete what killed processes have left, and uploads that were given up."""
        with self._database.writing() as connection:
            return sweep(connection, self._root, self._clock())

    def make_room(self) -> int:
        """Delete the oldest until the library holds no more than it may; how many went.

        Never what is pinned, or what a job that waits or runs takes.
        """
        if self._max_bytes is None:
            return 0
        gone: list[tuple[str, str]] = []
        count = 0
        with self._database.writing() as connection:
            too_much = self.used_bytes() - self._max_bytes
            rows = connection.execute(
                "SELECT id FROM artifacts WHERE main IS NULL AND pinned = 0 AND id NOT IN "
                "(SELECT artifact_id FROM job_inputs) ORDER BY number"
            )
            for row in rows.fetchall() if too_much > 0 else []:
                if too_much <= 0:
                    break
                too_much -= _size_with_companions(connection, row["id"])
                gone += _remove_rows(connection, row["id"])
                count += 1
        remove_files(self._root, gone)
        return count

    def close(self) -> None:
        """Close this thread's connection."""
        self._database.close()

    def _add(self, path: Path, new: NewArtifact, owner: str) -> Artifact:
        stage = path.with_name(f"{path.name}.d")
        stage.mkdir()
        try:
            path.rename(stage / new.file)
            stored = settle(stage, [new])
            with self._database.writing() as connection:
                origin = Origin(owner, None, self._clock())
                [artifact_id] = publish(connection, self._root, stage, stored, origin)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        return self.get(artifact_id)


def _is_needed(connection: sqlite3.Connection, artifact_id: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM job_inputs WHERE artifact_id = ? LIMIT 1", (artifact_id,)
    )
    return found.fetchone() is not None


def _size_with_companions(connection: sqlite3.Connection, artifact_id: str) -> int:
    [size] = connection.execute(
        "SELECT TOTAL(size) FROM artifacts WHERE id = ? OR main = ?", (artifact_id, artifact_id)
    ).fetchone()
    return int(size)


def _remove_rows(connection: sqlite3.Connection, artifact_id: str) -> list[tuple[str, str]]:
    """Folders and names of the files whose rows are gone."""
    rows = connection.execute(
        "SELECT id, folder, name FROM artifacts WHERE id = ? OR main = ?",
        (artifact_id, artifact_id),
    ).fetchall()
    for row in rows:
        connection.execute("DELETE FROM thumbnails WHERE artifact_id = ?", (row["id"],))
        connection.execute("DELETE FROM artifacts WHERE id = ?", (row["id"],))
    return [(row["folder"], row["name"]) for row in rows]
