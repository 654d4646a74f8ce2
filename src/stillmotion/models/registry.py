"""Names of models -> folders on this machine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.models.description import ModelDescription, read_description

MINIATURE = "miniature"
#: What a pipeline is made of; each is a folder in the model's.
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "motion_adapter")
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
    elif name and Path(name).expanduser().is_dir():
        path = Path(name).expanduser()
    elif _HUB_ID.match(name) and not name.startswith("."):
        path = _hub_folder(name, download=download)
    else:
        raise ModelError(
            f"unknown model '{name}': it is neither '{MINIATURE}', nor a folder on this machine, "
            "nor a hub id of the form user/model"
        )
    _check_complete(path)
    return ModelFolder(name, path, read_description(path))


def _check_complete(path: Path) -> None:
    """Raises ModelError if parts are missing, which loaders would report in words of their own."""
    index_path = path / "model_index.json"
    if not index_path.is_file():
        raise ModelError(
            f"the model folder {path} has no model_index.json; give a folder in diffusers' layout, "
            "as written by save_pretrained"
        )
    try:
        index = dict(json.loads(index_path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{index_path} is damaged: {error}") from error
    # The index names the library and class of each part; nulls stand for a part that is not there.
    classes = {name: index[name][1] for name in PARTS if isinstance(index.get(name), list)}
    present = {name: kind for name, kind in classes.items() if kind is not None}
    missing = [name for name in present if not any((path / name).glob("*"))]
    if missing:
        raise ModelError(
            f"the model folder {path} lacks {', '.join(missing)}, named in its model_index.json; "
            "copy or download all of it"
        )
    if present.get("unet") == "UNet2DConditionModel" and "motion_adapter" not in present:
        raise ModelError(
            f"the model in {path} draws pictures but has no motion adapter, so it cannot make "
            "clips; give one that was saved from an AnimateDiff pipeline"
        )


def _hub_folder(name: str, *, download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    patterns = ["*.json", "*.safetensors", "*.txt", "*.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not download))
    except LocalEntryNotFoundError as error:
        advice = "check the network" if download else "add --download to fetch it from the hub"
        raise ModelError(f"the model '{name}' is not on this machine; {advice}") from error
    except HFValidationError as error:
        raise ModelError(f"unknown model '{name}': it is no hub id either ({error})") from error
    except HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the hub does not give the model '{name}': {reason}") from error
