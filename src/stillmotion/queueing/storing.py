"""Files into the library, wholly or not at all, and what was left over swept out.

A file appears under `files/` inside the same transaction that adds its row: by one rename, after
its content is on the disk.  What is there without a row was left by a process that was killed
between the two, and is deleted by `sweep`, which holds the same lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stillmotion.errors import OutputError
from stillmotion.queueing.views import NewArtifact

FILES, WORK, INCOMING = "files", "work", "incoming"
OLD_UPLOAD_SECONDS = 24 * 3600.0
_KEEP = ".keep"


@dataclass(frozen=True)
class Stored:
    """A file that is on the disk, ready to be taken."""

    new: NewArtifact
    size: int
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Where artifacts come from."""

    owner: str
    job_id: str | None
    at: float


def work_folder(root: Path, job_id: str, lease: str) -> Path:
    """Where one attempt at a job writes."""
    return root / WORK / f"{job_id}.{lease}"


def keep_folder(root: Path, job_id: str) -> Path:
    """What a job keeps from attempt to attempt."""
    return root / WORK / f"{job_id}{_KEEP}"


def settle(folder: Path, artifacts: Sequence[NewArtifact]) -> list[Stored]:
    """Flush the files to the disk and measure them; delete all others in the folder.

    Raises OutputError if one is not there.
    """
    named = {new.file for new in artifacts}
    for entry in folder.iterdir():
        if entry.name not in named:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    found = []
    for new in artifacts:
        path = folder / new.file
        if Path(new.file).name != new.file or not path.is_file():
            raise OutputError(f"the job did not write '{new.file}', which it was to make.")
        digest = hashlib.sha256()
        with path.open("rb+") as file:
            while block := file.read(1 << 20):
                digest.update(block)
            os.fsync(file.fileno())
        found.append(Stored(new, path.stat().st_size, digest.hexdigest()))
    _flush(folder)
    return found


def publish(
    connection: sqlite3.Connection,
    root: Path,
    folder: Path,
    stored: Sequence[Stored],
    origin: Origin,
) -> list[str]:
    """Inside a transaction: add the rows, and let the folder become one of the library's.

    Returns the ids.  If the transaction is rolled back later, the folder is swept out.
    """
    home = uuid.uuid4().hex
    ids = {one.new.file: uuid.uuid4().hex for one in stored}
    for one in stored:
        new = one.new
        connection.execute(
            "INSERT INTO artifacts (id, kind, name, folder, content_type, size, sha256, width, "
            "height, num_frames, created_at, job_id, owner, main) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ids[new.file], new.kind, new.file, home, new.content_type, one.size, one.sha256,
                new.width, new.height, new.num_frames, origin.at, origin.job_id, origin.owner,
                ids[new.main] if new.main is not None else None,
            ),
        )  # fmt: skip
        if new.thumbnail is not None:
            connection.execute(
                "INSERT INTO thumbnails VALUES (?, ?)", (ids[new.file], new.thumbnail)
            )
    target = root / FILES / home
    target.parent.mkdir(exist_ok=True)
    os.rename(folder, target)
    _flush(target.parent)
    return list(ids.values())


def sweep(connection: sqlite3.Connection, root: Path, now: float) -> int:
    """Inside a transaction: delete what no row speaks of; how many files and folders that were."""
    count = 0
    known: dict[str, set[str]] = {}
    for row in connection.execute("SELECT folder, name FROM artifacts"):
        known.setdefault(row["folder"], set()).add(row["name"])
    for home in _entries(root / FILES):
        if home.name not in known:
            count += _remove(home)
            continue
        for file in _entries(home):
            if file.name not in known[home.name]:
                count += _remove(file)
    rows = connection.execute("SELECT id, lease FROM jobs WHERE finished_at IS NULL").fetchall()
    live = {f"{row['id']}.{row['lease']}" for row in rows if row["lease"] is not None}
    live |= {f"{row['id']}{_KEEP}" for row in rows}
    for folder in _entries(root / WORK):
        if folder.name not in live:
            count += _remove(folder)
    for upload in _entries(root / INCOMING):
        with suppress(FileNotFoundError):
            if now - upload.stat().st_mtime > OLD_UPLOAD_SECONDS:
                count += _remove(upload)
    return count


def remove_files(root: Path, files: Sequence[tuple[str, str]]) -> None:
    """Delete files whose rows are gone, by folder and name; empty folders with them."""
    for home, name in files:
        path = root / FILES / home / name
        with suppress(OSError):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # others are still in it
            path.parent.rmdir()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return 1


def _flush(folder: Path) -> None:
    """Force names in a folder to the disk."""
    if os.name == "nt":
        return  # Windows cannot open folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
