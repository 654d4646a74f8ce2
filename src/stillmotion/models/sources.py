"""Where a part of a model lies on this machine, fetching it first if that is allowed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.models.description import Source

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
#: What is fetched of a repository whose files are not listed; no pickles, no scripts.
HARMLESS = ("*.json", "*.safetensors", "*.txt", "*.md")
_CHUNK_BYTES = 1 << 20


def locate(name: str, role: str, source: Source, *, download: bool, weights: bool = True) -> Path:
    """The file or folder of one part.

    Args:
        name: the model's, for messages.
        role: the part's name in `Parts`, for messages.
        source: any but another model.
        download: whether a hub repository may be fetched.  What is fetched is compared with the
            sha256 of `source.files`, where one is known.
        weights: whether the weights are wanted, or only what describes them.

    Raises:
        ModelError: it is not on this machine, or what was fetched is not what was expected.
    """
    if source.path is not None:
        path = Path(source.path).expanduser()
        if not path.exists():
            raise ModelError(
                f"the {role} of the model '{name}', {path}, is not there any more; put it back, "
                f"or make the model anew: stillmotion models remove {name}"
            )
        return path
    if source.page is not None and role == "base":
        raise ModelError(
            f"the model '{name}' has to be fetched by yourself, from {source.page}, and made into "
            f"a folder: stillmotion convert FILE FOLDER; then: stillmotion models add {name} "
            "--folder FOLDER"
        )
    if source.page is not None:
        raise ModelError(
            f"the model '{name}' needs a {role} that you have to fetch yourself, from "
            f"{source.page}; then: stillmotion models add {name} --{role} FILE"
        )
    assert source.hub is not None
    wanted = [f for f in source.files if weights or not f.endswith(".safetensors")]
    folder = hub_folder(source.hub, source.revision, wanted, download=download)
    _check_present(source.hub, folder, wanted)
    if download:
        check_hashes(folder, source.files)
    return folder / wanted[0] if len(source.files) == 1 else folder


def hub_folder(
    repository: str,
    revision: str | None = None,
    files: Collection[str] = (),
    *,
    download: bool,
) -> Path:
    """The folder of a hub repository in the hub's cache; `files` empty: all harmless ones.

    Raises ModelError if it is not there, or the hub does not give it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(files or HARMLESS),
            local_files_only=not download,
        )
    except LocalEntryNotFoundError as error:
        advice = "check the network" if download else "add --download to fetch it from the hub"
        raise ModelError(f"the model '{repository}' is not on this machine; {advice}") from error
    except HFValidationError as error:
        raise ModelError(
            f"unknown model '{repository}': it is no hub id either ({error})"
        ) from error
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the hub does not give the model '{repository}': {reason}") from error
    return Path(folder)


def check_hashes(folder: Path, files: dict[str, str | None]) -> None:
    """Raises ModelError if a file in `folder` has another sha256 than the one that is known."""
    for name, known in files.items():
        if known is not None and (folder / name).is_file() and sha256(folder / name) != known:
            raise ModelError(
                f"{folder / name} is not the file that was expected (its sha256 is not {known}); "
                "delete it and fetch it again"
            )


def sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_present(repository: str, folder: Path, files: Collection[str]) -> None:
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"of the model '{repository}' this machine lacks {', '.join(missing)}; add --download "
            "to fetch it from the hub"
        )
