"""Files and folders that appear whole or not at all.

A result is written under a temporary name in the folder where it belongs, flushed to the disk
and only then renamed, so that a crash, a full disk or Ctrl-C never leaves half a file under the
final name and never harms what stood there before.  Standard library only: the training code
uses this on machines without any media library.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stillmotion.errors import OutputError

_READ_AND_WRITE = 0o666
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REASONS = {
    errno.EACCES: "permission denied; choose a folder you may write to",
    errno.EPERM: "permission denied; choose a folder you may write to",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


@contextmanager
def atomic_path(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, else it is deleted.

    The temporary file exists (empty) from the start, so that an unwritable folder is reported
    before any work is done, and has the suffix of `path`, so that encoders recognise the format.
    Parent folders are created.  Raises OutputError if `path` exists and `overwrite` is false, or
    if it cannot be written (no space, no permission, not a folder).
    """
    _check_free(path, overwrite=overwrite)
    temporary = _temporary_name(path)
    try:
        with _explained(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not tempfile.mkstemp: its mode 0600 would survive the rename.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            mode = temporary.stat().st_mode
            yield temporary
            _permit(temporary, mode)
            _flush(temporary)
            # A second run may have finished first.
            _check_free(path, overwrite=overwrite)
            os.replace(temporary, path)
            _flush(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON in place of what is there.  Raises as `atomic_path`."""
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, else it is deleted.

    An existing folder is moved aside first and deleted only when the new one is in place; if the
    move fails it is put back.  (A crash exactly between the two renames leaves both folders whole
    under hidden names.)  Raises OutputError if `path` is a file, if it is a folder that holds
    anything and `overwrite` is false, or if it cannot be written.
    """
    _check_free(path, overwrite=overwrite, folder=True)
    temporary = _temporary_name(path)
    try:
        with _explained(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            mode = temporary.stat().st_mode
            yield temporary
            for entry in (*temporary.rglob("*"), temporary):
                if entry.is_file():
                    _permit(entry, mode & _READ_AND_WRITE)
                _flush(entry)
            _check_free(path, overwrite=overwrite, folder=True)
            _swap(temporary, path)
            _flush(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _permit(file: Path, mode: int) -> None:
    """Let those read `file` who may read new files here.

    Some writers, safetensors among them, put one in its place that only its owner can read.
    """
    with suppress(FileNotFoundError):  # the writer took it away, which renaming will tell
        file.chmod(stat.S_IMODE(mode))


def _swap(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`, whatever folder stood there before."""
    if not path.exists():
        os.replace(new, path)
        return
    old = _temporary_name(path)
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_free(path: Path, *, overwrite: bool, folder: bool = False) -> None:
    if path.name in ("", ".."):
        raise OutputError(f"'{path}' is not a name to write to; give a file or folder name.")
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if not folder:
            raise OutputError(f"'{path}' is a folder; give a file name instead.")
        if overwrite or not any(path.iterdir()):
            return
    elif folder:
        raise OutputError(f"'{path}' is a file, not a folder; choose another path.")
    elif overwrite:
        return
    raise OutputError(
        f"'{path}' exists already; choose another name, or replace it with --force "
        "(overwrite=True)."
    )


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.stem[:64]}-{secrets.token_hex(8)}{path.suffix}")


@contextmanager
def _explained(path: Path, temporary: Path) -> Iterator[None]:
    """Turn the system's errors about writing `path` into one sentence; let all others through."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL_DISK:
            raise OutputError(
                f"'{path}' could not be written: no space left on the disk; free some or choose "
                "another folder."
            ) from error
        if error.errno in _REASONS and _concerns(error, path, temporary):
            reason = _REASONS[error.errno]
            raise OutputError(f"'{path}' could not be written: {reason}.") from error
        raise


def _concerns(error: OSError, path: Path, temporary: Path) -> bool:
    """Whether the error is about `path`, its folders or its temporary, not another file."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    culprit = Path(error.filename).absolute()
    return culprit.is_relative_to(temporary.absolute()) or path.absolute().is_relative_to(culprit)


def _flush(path: Path) -> None:
    """Force a file or folder to the disk, so that the rename cannot outlive the contents."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
