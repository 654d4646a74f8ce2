"""Names that cannot be written are refused at once, before anything is loaded or computed.

What only shows when a file is written (a full disk, above all) is caught there, by the writers.
"""

from __future__ import annotations

import os
from itertools import chain
from itertools import count as count_from
from pathlib import Path

from stillmotion.errors import OutputError


def numbered_paths(output: Path, count: int) -> list[Path]:
    """`a.png` for one output; `a-1.png`, `a-2.png`, ... for several."""
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{i}{output.suffix}") for i in range(1, count + 1)]


def free_path(path: Path) -> Path:
    """`path`, or if there is one, the first of NAME-2, NAME-3 and so on that there is not."""
    names = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in count_from(2))
    return next(name for name in chain([path], names) if not os.path.lexists(name))


def check_still_output(output: Path, count: int, *, overwrite: bool) -> None:
    """Raises OutputError if a still cannot be written to `output`, or its companions beside it."""
    if output.suffix.lower() != ".png":
        raise OutputError(f"'{output}' cannot hold a still; use the ending .png.")
    for path in numbered_paths(output, count):
        latents = path.with_name(f"{path.stem}.latents.safetensors")
        _check_files((path, latents, _side_car(path)), overwrite=overwrite)


def check_clip_outputs(output: Path, count: int, *, overwrite: bool) -> None:
    """Raises OutputError if clips cannot be written to `output`, or their side-cars beside it."""
    from stillmotion.media.clips import check_clip_path  # heavy: only where it is needed

    for path in numbered_paths(output, count):
        is_folder = check_clip_path(path).is_folder
        _check_clip_output(path, is_folder=is_folder, overwrite=overwrite)


def _check_clip_output(output: Path, *, is_folder: bool, overwrite: bool) -> None:
    if is_folder and output.is_dir():
        if any(output.iterdir()) and not overwrite:
            raise OutputError(_taken(output))
        _check_files((_side_car(output),), overwrite=overwrite)
    elif is_folder and output.exists():
        raise OutputError(f"'{output}' is a file, not a folder; choose another name.")
    else:
        _check_files((output, _side_car(output)), overwrite=overwrite)


def check_file_output(output: Path, *, overwrite: bool) -> None:
    """Raises OutputError if a single file cannot be written to `output`."""
    _check_files((output,), overwrite=overwrite)


def _check_files(paths: tuple[Path, ...], *, overwrite: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise OutputError(f"'{path}' is a folder; give a file name instead.")
        if os.path.lexists(path) and not overwrite:
            raise OutputError(_taken(path))
    folder = next(folder for folder in paths[0].absolute().parents if folder.exists())
    if not folder.is_dir():
        raise OutputError(f"'{paths[0]}' cannot be written: '{folder}' is a file, not a folder.")
    if not os.access(folder, os.W_OK):
        raise OutputError(
            f"'{paths[0]}' cannot be written: you may not write to the folder '{folder}'; choose "
            "another."
        )


def _side_car(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _taken(path: Path) -> str:
    return f"'{path}' exists already; choose another name, or add --force to replace it."
