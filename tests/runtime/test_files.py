"""Whole or not at all, whatever happens in the middle."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stillmotion.errors import OutputError
from stillmotion.runtime import files
from stillmotion.runtime.files import atomic_folder, atomic_path


def tree(folder: Path) -> dict[str, str]:
    """Every file under a folder with its text, and every folder with a slash."""
    return {
        str(entry.relative_to(folder)) + "/" * entry.is_dir(): ""
        if entry.is_dir()
        else entry.read_text()
        for entry in folder.rglob("*")
    }


def half_write(path: Path, failure: type[BaseException]) -> None:
    path.write_text("half")
    raise failure


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "clip.mp4"
    with atomic_path(target, overwrite=False) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".mp4"
        temporary.write_text("whole")
        assert not target.exists()
    assert tree(target.parent) == {"clip.mp4": "whole"}


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a", overwrite=False):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_leaves_the_old_file(
    failure: type[BaseException], old: str | None, tmp_path: Path
) -> None:
    target = tmp_path / "a.txt"
    if old is not None:
        target.write_text(old)
    before = tree(tmp_path)
    with pytest.raises(failure), atomic_path(target, overwrite=True) as temporary:
        half_write(temporary, failure)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [False, True])
def test_a_failure_leaves_the_old_folder(
    failure: type[BaseException], old: bool, tmp_path: Path
) -> None:
    target = tmp_path / "a"
    if old:
        target.mkdir()
        (target / "old").write_text("old")
    before = tree(tmp_path)
    with pytest.raises(failure), atomic_folder(target, overwrite=True) as temporary:
        half_write(temporary / "new", failure)
    assert tree(tmp_path) == before


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with (
        pytest.raises(OutputError, match=r"a' exists already.*--force \(overwrite=True\)"),
        atomic_path(tmp_path / "a", overwrite=False),
    ):
        raise AssertionError("the work was started")
    with atomic_path(tmp_path / "a", overwrite=True) as temporary:
        temporary.write_text("new")
    assert tree(tmp_path) == {"a": "new"}


def test_a_dangling_link_counts_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="exists"), atomic_path(tmp_path / "a", overwrite=False):
        pass


def test_a_file_that_came_meanwhile_is_kept(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="exists already"),
        atomic_path(tmp_path / "a", overwrite=False),
    ):
        (tmp_path / "a").write_text("first")
    assert tree(tmp_path) == {"a": "first"}


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "run"
    with atomic_folder(target, overwrite=False) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text("whole")
        assert not target.exists()
    assert tree(tmp_path / "deep") == {"run/": "", "run/sub/": "", "run/sub/file": "whole"}


def test_a_folder_is_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with atomic_folder(tmp_path / "a", overwrite=False) as temporary:  # empty: nothing to lose
        (temporary / "old").write_text("old")
    with pytest.raises(OutputError, match="exists"), atomic_folder(tmp_path / "a", overwrite=False):
        pass
    with atomic_folder(tmp_path / "a", overwrite=True) as temporary:
        (temporary / "new").write_text("new")
        assert (tmp_path / "a" / "old").is_file()
    assert tree(tmp_path) == {"a/": "", "a/new": "new"}


def test_a_failed_swap_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    real, calls = os.replace, []

    def replace(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.EIO, "the disk is broken")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    with (
        pytest.raises(OSError, match="broken"),
        atomic_folder(tmp_path / "a", overwrite=True) as temporary,
    ):
        (temporary / "new").write_text("new")
    assert tree(tmp_path) == {"a/": "", "a/old": "old"}


def test_files_and_folders_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with (
        pytest.raises(OutputError, match="is a folder"),
        atomic_path(tmp_path / "folder", overwrite=True),
    ):
        pass
    with (
        pytest.raises(OutputError, match="not a folder"),
        atomic_folder(tmp_path / "file", overwrite=True),
    ):
        pass
    for context in (atomic_path, atomic_folder):
        with (
            pytest.raises(OutputError, match="a part of the path is a file"),
            context(tmp_path / "file" / "clip", overwrite=True),
        ):
            pass
    assert tree(tmp_path) == {"folder/": "", "file": "old"}


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_name_is_needed(name: str) -> None:
    for context in (atomic_path, atomic_folder):
        with pytest.raises(OutputError, match="not a name"), context(Path(name), overwrite=True):
            pass


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "read-only"),
    ],
)
def test_the_systems_refusals_are_explained(number: int, said: str, tmp_path: Path) -> None:
    for context in (atomic_path, atomic_folder):
        target = tmp_path / "a"
        with (
            pytest.raises(OutputError, match=f"{target}.*{said}"),
            context(target, overwrite=False) as temporary,
        ):
            raise OSError(number, os.strerror(number), str(temporary))
        assert tree(tmp_path) == {}


def test_a_full_disk_at_the_last_moment_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fsync)
    with (
        pytest.raises(OutputError, match="no space left"),
        atomic_path(tmp_path / "a", overwrite=False) as temporary,
    ):
        temporary.write_text("half")
    assert tree(tmp_path) == {}


def test_trouble_with_another_file_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a", overwrite=False):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "weights"))
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a", overwrite=False):
        (tmp_path / "missing").read_text()
    assert tree(tmp_path) == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_closed_folder_is_told_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    for context in (atomic_path, atomic_folder):
        with (
            pytest.raises(OutputError, match="permission denied"),
            context(tmp_path / "a", overwrite=False),
        ):
            raise AssertionError("the work was started")


def test_a_long_name_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="too long"),
        atomic_path(tmp_path / ("a" * 300), overwrite=False),
    ):
        pass
    with atomic_path(tmp_path / ("a" * 240 + ".mp4"), overwrite=False):
        pass


def test_contents_reach_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        order.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, "replace", replace)
    with atomic_path(tmp_path / "a", overwrite=False):
        pass
    assert order == ["file", "rename", "folder"]


def test_only_the_standard_library_is_needed() -> None:
    program = (
        "import sys; import stillmotion.runtime.files;"
        "print([m for m in ('torch', 'numpy', 'av', 'PIL', 'pydantic') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "[]"


def test_files_that_a_writer_puts_in_place_can_be_read_by_all_who_may(tmp_path: Path) -> None:
    """safetensors makes files that only their owner can read."""
    plain = tmp_path / "plain"
    plain.touch()
    usual = stat.S_IMODE(plain.stat().st_mode)
    weights = {"w": torch.zeros(2)}
    with atomic_path(tmp_path / "w.safetensors", overwrite=False) as temporary:
        save_file(weights, temporary)
    with atomic_folder(tmp_path / "net", overwrite=False) as folder:
        (folder / "inner").mkdir()
        save_file(weights, folder / "inner" / "w.safetensors")
    made = (tmp_path / "w.safetensors", tmp_path / "net" / "inner" / "w.safetensors")
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [usual, usual]
