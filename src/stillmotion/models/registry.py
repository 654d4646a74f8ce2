"""Names of models -> folders on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.models.description import ModelDescription, read_description

MINIATURE = "miniature"
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine: the name it was asked for by, its folder and its description."""

    name: str
    path: Path
    description: ModelDescription


def miniature_folder() -> Path:
    """Where the miniature that ships with the package lies."""
    return Path(str(resources.files("stillmotion.miniature"))) / "weights"


def known_models() -> list[ModelFolder]:
    """Models that need nothing but this package."""
    return [resolve_model(MINIATURE)]


def resolve_model(name: str, *, download: bool = False) -> ModelFolder:
    """Find a model by name.

    Args:
        name: "miniature", a folder in diffusers' layout, or a hub id such as "user/model".
        download: whether a hub id may be fetched; without it only what was fetched before is used.

    Raises:
        ModelError: no such model, or one that is not on this machine.
    """
    if name == MINIATURE:
        path = miniature_folder()
    elif Path(name).expanduser().is_dir():
        path = Path(name).expanduser()
    elif _HUB_ID.match(name) and not name.startswith("."):
        path = _hub_folder(name, download=download)
    else:
        raise ModelError(
            f"unknown model '{name}': it is neither '{MINIATURE}', nor a folder on this machine, "
            "nor a hub id of the form user/model"
        )
    if not (path / "model_index.json").is_file():
        raise ModelError(
            f"the model folder {path} has no model_index.json; give a folder in diffusers' layout, "
            "as written by save_pretrained"
        )
    return ModelFolder(name, path, read_description(path))


def _hub_folder(name: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.md"]
    try:
        return Path(
            snapshot_download(name, allow_patterns=patterns, local_files_only=not download)
        )
    except LocalEntryNotFoundError as error:
        advice = "check the network" if download else "add --download to fetch it from the hub"
        raise ModelError(f"the model '{name}' is not on this machine; {advice}") from error
    except HfHubHTTPError as error:
        raise ModelError(f"the hub does not give the model '{name}': {error}") from error
