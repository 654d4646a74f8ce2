"""A packaged miniature -> the beginning of a run folder, so that later stages need no earlier ones.

The packaged networks have 16 bits; further stages learn in 32 from what these say.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.miniature.package import COPIED, NETWORKS, OPTIONAL, TAKEN
from stillmotion.models.loading import explained, silent_libraries
from stillmotion.runtime.files import atomic_folder, atomic_path


def unpack(package: Path, folder: Path) -> tuple[str, ...]:
    """Put what a package has and the run folder lacks into the latter; the names of the parts.

    What is known of their training goes along, for the card of what will be made of them.

    Raises:
        ModelError: `package` is not a packaged miniature, or a part of it is damaged.
    """
    if not (package / "training.json").is_file():
        raise ModelError(
            f"'{package}' is not a packaged miniature; give 'miniature' or a folder written by "
            "'stillmotion train miniature --package'"
        )
    taken = []
    for name in (*NETWORKS, *OPTIONAL, *COPIED):
        if (package / name).exists() and not (folder / name).exists():
            _take(name, package, folder)
            taken.append(name)
    if taken:
        with atomic_path(folder / TAKEN, overwrite=True) as temporary:
            shutil.copyfile(package / "training.json", temporary)
    return tuple(taken)


def _take(name: str, package: Path, folder: Path) -> None:
    kind = {**NETWORKS, **OPTIONAL}.get(name)
    if kind is None and (package / name).is_file():
        with atomic_path(folder / name, overwrite=False) as file:
            shutil.copyfile(package / name, file)
        return
    with atomic_folder(folder / name, overwrite=False) as temporary:
        if kind is None:
            shutil.copytree(package / name, temporary, dirs_exist_ok=True)
        else:
            with silent_libraries(), explained(str(package)):
                kind.from_pretrained(package / name).float().save_pretrained(temporary)
