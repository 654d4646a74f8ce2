"""Names of models -> what they are made of, on this machine."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from stillmotion.errors import ModelError
from stillmotion.models.description import (
    ModelDescription,
    Source,
    read_description,
    read_description_file,
)
from stillmotion.models.sources import HUB_ID, hub_folder, locate
from stillmotion.models.user_models import read_user_model, user_model_names

MINIATURE = "miniature"
MINIATURE_DYNAMICRAFTER = "miniature-dynamicrafter"
MINIATURE_INTERPOLATION = "miniature-dynamicrafter-interp"
#: The models that come with the package, by the folders below the miniature's own.
PACKAGED = {
    MINIATURE: "",
    MINIATURE_DYNAMICRAFTER: "dynamicrafter",
    MINIATURE_INTERPOLATION: "dynamicrafter-interp",
}
#: What a pipeline is made of; each is a folder in the model's.
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "motion_adapter")
Origin = Literal["package", "catalogue", "user"]


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine: the name it was asked for by, its folder and its description.

    The files named beside the folder take the place of what is in it.
    """

    name: str
    path: Path
    description: ModelDescription
    checkpoint: Path | None = None
    """A single file with U-Net, VAE and text encoder; the folder has their configurations."""
    vae: Path | None = None
    motion: Path | None = None
    """File or folder of a motion module."""
    loras: tuple[tuple[Path, float], ...] = ()
    """LoRAs with their weights, to be merged in this order."""


@dataclass(frozen=True)
class KnownModel:
    """A model that can be called by name, whether it is on this machine or not."""

    name: str
    origin: Origin
    description: ModelDescription
    folder: ModelFolder | None
    lacks: str | None
    """Why it cannot be used now, in a sentence; None if it can."""


def miniature_folder() -> Path:
    """Where the miniature that ships with the package lies."""
    return Path(str(resources.files("stillmotion.miniature"))) / "weights"


@cache
def catalogue() -> dict[str, ModelDescription]:
    """The models that the package describes but does not hold, by name."""
    folder = Path(str(resources.files("stillmotion.models"))) / "catalogue"
    return {path.stem: read_description_file(path) for path in sorted(folder.glob("*.json"))}


def known_models() -> list[KnownModel]:
    """All models with a name: the packaged ones, the user's, and those of the catalogue."""
    users = user_model_names()
    names: list[tuple[str, Origin]] = [(name, "package") for name in PACKAGED]
    names += [(name, "user") for name in users]
    names += [(name, "catalogue") for name in catalogue() if name not in users]
    return [known_model(name, origin) for name, origin in names]


def known_model(name: str, origin: Origin | None = None, *, download: bool = False) -> KnownModel:
    """What is known of one model; of a folder or hub id too.

    Raises ModelError if there is no such name, or a folder or hub id that cannot be used.
    """
    origin = _origin(name) if origin is None else origin
    description, folder, lacks = ModelDescription(title="unreadable"), None, None
    try:
        if origin is not None and name not in PACKAGED:
            description = _described(name) or description
        folder = resolve_model(name, download=download)
        description = folder.description
    except ModelError as error:
        if origin is None or download:
            raise
        lacks = str(error)
    return KnownModel(name, origin or "user", description, folder, lacks)


def resolve_model(
    name: str, *, download: bool = False, replaced: Collection[str] = ()
) -> ModelFolder:
    """Find a model by name.

    Args:
        name: one that comes with the package, such as "miniature", one of the user's models, one
            of the catalogue, a folder in diffusers' layout, or a hub id such as "user/model"; the
            first of these that there is.
        download: whether what lies on a hub may be fetched; without it only what was fetched
            before is used.
        replaced: parts that the caller brings and that need not be there: "checkpoint", "vae",
            "motion".

    Raises:
        ModelError: no such model, or one that is not on this machine.
    """
    return _resolve(name, download, frozenset(replaced), ())


def _resolve(
    name: str, download: bool, replaced: frozenset[str], above: tuple[str, ...]
) -> ModelFolder:
    """`above` are the models that are built on this one."""
    if name in above:
        raise ModelError(f"the model '{name}' is built on itself; remove it and add it anew")
    described = _described(name) if name not in PACKAGED else None
    if described is not None:
        return _put_together(name, described, download, replaced, above)
    if name in PACKAGED:
        path = miniature_folder() / PACKAGED[name]
    elif name and Path(name).expanduser().is_dir():
        path = Path(name).expanduser()
    elif HUB_ID.fullmatch(name) and not name.startswith("."):
        path = hub_folder(name, download=download)
    else:
        raise ModelError(
            f"unknown model '{name}': it is neither a name that `stillmotion models` lists, nor a "
            "folder on this machine, nor a hub id of the form user/model"
        )
    _check_complete(path, needs_motion="motion" not in replaced)
    return ModelFolder(name, path, read_description(path))


def _put_together(
    name: str,
    says: ModelDescription,
    download: bool,
    replaced: frozenset[str],
    above: tuple[str, ...],
) -> ModelFolder:
    parts = says.parts
    if parts is None:
        raise ModelError(f"the description of the model '{name}' does not say where its parts are")

    def find(role: str, source: Source | None) -> Path | None:
        if source is None or role in replaced:
            return None
        if source.model is not None:
            raise ModelError(f"the {role} of the model '{name}' cannot be another model's")
        return locate(name, role, source, download=download)

    # First what it has of its own: the base can be gigabytes to fetch, and in vain.
    files = {role: find(role, getattr(parts, role)) for role in ("checkpoint", "vae", "motion")}
    loras = tuple((find("lora", source), source.weight) for source in parts.loras)
    without = replaced | {role for role, path in files.items() if path is not None}
    if parts.base.model is not None:
        base = _resolve(parts.base.model, download, without, (*above, name))
    else:
        # A checkpoint brings the weights; then the base need only describe them.
        weights = "checkpoint" not in without
        path = locate(name, "base", parts.base, download=download, weights=weights)
        _check_complete(path, needs_motion="motion" not in without)
        base = ModelFolder(name, path, says)
    return replace(
        base,
        name=name,
        description=says,
        checkpoint=files["checkpoint"] or base.checkpoint,
        vae=files["vae"] or base.vae,
        motion=files["motion"] or base.motion,
        loras=(*base.loras, *((path, weight) for path, weight in loras if path is not None)),
    )


def _described(name: str) -> ModelDescription | None:
    return read_user_model(name) or catalogue().get(name)


def _origin(name: str) -> Origin | None:
    if name in PACKAGED:
        return "package"
    if name in user_model_names():
        return "user"
    return "catalogue" if name in catalogue() else None


def _check_complete(path: Path, *, needs_motion: bool) -> None:
    """Raises ModelError if parts are missing, which loaders would report in words of their own."""
    classes = part_classes(path)
    present = {name: kind for name, kind in classes.items() if kind is not None}
    missing = [name for name in present if not any(part_path(path, name).glob("*"))]
    if missing:
        raise ModelError(
            f"the model folder {path} lacks {', '.join(missing)}, named in its model_index.json; "
            "copy or download all of it"
        )
    if needs_motion and draws_only(path):
        raise ModelError(
            f"the model in {path} draws pictures but has no motion adapter, so it cannot make "
            "clips; give one that was saved from an AnimateDiff pipeline, or a motion module with "
            "--motion"
        )


def part_path(path: Path, part: str) -> Path:
    """Where a part of the model in a folder lies: there, or where its description says.

    Raises ModelError if the description is not valid.
    """
    return path / read_description(path).shared_parts.get(part, part)


def draws_only(path: Path) -> bool:
    """Whether a model folder draws pictures and has no motion of its own."""
    classes = part_classes(path)
    return classes.get("unet") == "UNet2DConditionModel" and not classes.get("motion_adapter")


def pipeline_class(path: Path) -> str | None:
    """The class that the index of a model folder names; None without an index, or a name in it."""
    try:
        index = json.loads((path / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = index.get("_class_name") if isinstance(index, dict) else None
    return name if isinstance(name, str) else None


def part_classes(path: Path) -> dict[str, str | None]:
    """The class of each part that the index of a model folder names; None: there is no such part.

    Raises ModelError if there is no index, or a damaged one.
    """
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
    # The index names the library and class of each part.
    return {name: index[name][1] for name in PARTS if isinstance(index.get(name), list)}
