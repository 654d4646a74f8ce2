"""Makes models of the user's own out of files on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stillmotion.errors import ModelError
from stillmotion.models.description import ModelDescription, Parts, Source
from stillmotion.models.files import expect
from stillmotion.models.layouts import CHECKPOINTS, LORAS, MOTION_MODULES, VAES
from stillmotion.models.registry import (
    PACKAGED,
    KnownModel,
    catalogue,
    draws_only,
    known_model,
    resolve_model,
)
from stillmotion.models.sources import sha256
from stillmotion.models.user_models import check_name, save_user_model

DEFAULT_BASE = "sd15"
_KINDS = {"checkpoint": CHECKPOINTS, "vae": VAES, "motion": MOTION_MODULES, "lora": LORAS}


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What a model of the user's is made of; paths are on this machine."""

    folder: Path | None = None
    """A folder in diffusers' layout; its own description, if it has one, is the start."""
    base: str | None = None
    """Else a model by name, whose parts are used where nothing replaces them."""
    checkpoint: Path | None = None
    vae: Path | None = None
    motion: Path | None = None
    loras: tuple[tuple[Path, float], ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the description that differ from the base's; None is no change."""


def add_model(name: str, new: NewModel) -> KnownModel:
    """Register a model under a name.  Weights stay where they are.

    A name of the catalogue can be given to a model of its own only where the catalogue wants a
    file that the user has to fetch: then this is how the file is told.

    Raises:
        ModelError: the name is taken or none, a file or folder is of another kind, or nothing is
            given.
    """
    check_name(name)
    unfinished = _unfinished(name, new)
    if name in PACKAGED or (name in catalogue() and unfinished is None):
        raise ModelError(f"there is a model '{name}' already; choose another name")
    _check_files(new)
    start, base = _start(new, unfinished)
    parts = Parts(
        base=base,
        checkpoint=_here(new.checkpoint),
        vae=_here(new.vae),
        motion=_here(new.motion),
        loras=tuple(Source(path=_absolute(path), weight=weight) for path, weight in new.loras),
    )
    made = {key: value for key, value in new.changes.items() if value is not None}
    made.setdefault("title", start.title if unfinished or new.folder else _title(new))
    description = _described(start, {**made, "parts": parts})
    save_user_model(name, description)
    return known_model(name)


def _unfinished(name: str, new: NewModel) -> ModelDescription | None:
    """The catalogue's entry of that name, if it waits for the file or folder that is given."""
    says = catalogue().get(name)
    if says is None or says.parts is None:
        return None
    if says.parts.base.page is not None:
        return says if new.folder is not None else None
    if says.parts.checkpoint is None:
        return None
    waits = says.parts.checkpoint.page is not None
    return says if waits and new.checkpoint is not None and not (new.base or new.folder) else None


def _check_files(new: NewModel) -> None:
    """Raises ModelError unless there is something, and all of it is of its kind."""
    given = {"checkpoint": new.checkpoint, "vae": new.vae, "motion": new.motion}
    files = [(role, path) for role, path in given.items() if path is not None]
    files += [("lora", path) for path, _ in new.loras]
    if new.folder is not None and new.base is not None:
        raise ModelError("a folder and a base are given, but a model stands on one of them")
    if not files and new.folder is None:
        raise ModelError(
            "there is nothing to add: give --folder DIR, or a file with --checkpoint, --motion, "
            "--vae or --lora"
        )
    for role, path in files:
        if role == "motion" and path.is_dir():
            if not (path / "config.json").is_file():
                raise ModelError(f"the folder {path} holds no motion module: no config.json")
        else:
            expect(path, _KINDS[role])


def _start(new: NewModel, unfinished: ModelDescription | None) -> tuple[ModelDescription, Source]:
    """The description to start from, and where the base is."""
    if new.folder is not None:
        if not new.folder.is_dir():
            raise ModelError(f"'{new.folder}' is no folder; to add a file, use --checkpoint")
        replaced = {"motion"} if new.motion is not None else set()
        says = resolve_model(_absolute(new.folder), replaced=replaced).description
        if says.scheduler is None and draws_only(new.folder):
            # Motion modules know the schedule that they were trained with.
            says = says.model_copy(update={"scheduler": catalogue()[DEFAULT_BASE].scheduler})
        return says, Source(path=_absolute(new.folder))
    if unfinished is not None:
        assert unfinished.parts is not None
        _check_hash(new, unfinished.parts.checkpoint)
        return unfinished, unfinished.parts.base
    base = new.base or DEFAULT_BASE
    if Path(base).expanduser().is_dir() and base not in (*PACKAGED, *catalogue()):
        base = _absolute(Path(base))
    return known_model(base).description, Source(model=base)


def _check_hash(new: NewModel, source: Source | None) -> None:
    """Raises ModelError if the catalogue knows the file's sha256 and this one has another."""
    assert source is not None
    assert new.checkpoint is not None
    known = source.files.get(new.checkpoint.name)
    if known is not None and sha256(new.checkpoint) != known:
        raise ModelError(
            f"'{new.checkpoint}' is not the file that the catalogue means (its sha256 is not "
            f"{known}); add it under a name of its own, with --base {DEFAULT_BASE}"
        )


def _described(start: ModelDescription, changes: dict[str, Any]) -> ModelDescription:
    """`start` with changes, checked.  Raises ModelError for a value that a field cannot have."""
    values = {**{name: getattr(start, name) for name in start.model_fields_set}, **changes}
    try:
        return ModelDescription(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"the {where} cannot be {first['input']!r}: {first['msg']}") from error


def _title(new: NewModel) -> str:
    files = [path.name for path in (new.checkpoint, new.vae, new.motion) if path is not None]
    files += [path.name for path, _ in new.loras]
    return f"{', '.join(files)} on {new.base or DEFAULT_BASE}"


def _here(path: Path | None) -> Source | None:
    return None if path is None else Source(path=_absolute(path))


def _absolute(path: Path) -> str:
    return str(path.expanduser().absolute())
