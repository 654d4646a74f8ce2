"""Atomic checkpoints: a kill at any moment leaves the last complete one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stillmotion.errors import InputError
from stillmotion.runtime.files import atomic_path


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts of them)."""
    with atomic_path(path, overwrite=True) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any] | None:
    """The state saved at `path`, or `None` if there is none yet.

    With `mmap` its tensors stay in the file until they are used: several processes of a machine
    that read it together need the memory once.

    Raises:
        InputError: the file is not a checkpoint of ours.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds, by where the file is broken
        raise unusable(path) from error
    if not isinstance(state, dict):
        raise unusable(path)
    return state


def unusable(path: Path) -> InputError:
    """What to raise about a file that is not a checkpoint of ours."""
    return InputError(f"{path} is not a readable checkpoint; delete it to start this stage again")
