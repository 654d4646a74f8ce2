"""The user's own models: one description each, in a folder of the user's.

That folder is `$STILLMOTION_HOME/models`, else `$XDG_DATA_HOME/stillmotion/models`, else
`~/.local/share/stillmotion/models`.  Weights are not copied there: a description says where they
are.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stillmotion.errors import ModelError
from stillmotion.models.description import ModelDescription, read_description_file
from stillmotion.runtime.files import atomic_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Words that mean something else where a model or a look is named.
_RESERVED = frozenset({"add", "remove", "show", "plain"})


def data_home() -> Path:
    """The folder for what the user keeps with stillmotion; it may not exist yet."""
    own = os.environ.get("STILLMOTION_HOME")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / "stillmotion"


def user_model_names() -> list[str]:
    """The names of the user's models, in order."""
    found = (path.stem for path in _folder().glob("*.json"))
    return sorted(name for name in found if _NAME.fullmatch(name))


def read_user_model(name: str) -> ModelDescription | None:
    """The description of one of the user's models; None if there is none of that name.

    Raises ModelError if its file is not valid.
    """
    # The pattern has no slash: a name never leads out of the folder.
    if not _NAME.fullmatch(name) or not _file(name).is_file():
        return None
    return read_description_file(_file(name))


def check_name(name: str) -> None:
    """Raises ModelError for a name that no model can have."""
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise ModelError(
            f"a model cannot be named '{name}'; give up to 64 letters, digits, dots, dashes and "
            f"underscores that begin with a letter or digit, and none of "
            f"{', '.join(sorted(_RESERVED))}"
        )


def save_user_model(name: str, description: ModelDescription) -> Path:
    """Write a description where `read_user_model` finds it.  Returns its file.

    Raises ModelError if the name cannot be used or is taken by a user's model.
    """
    check_name(name)
    if name.lower() in (known.lower() for known in user_model_names()):
        raise ModelError(
            f"there is a model '{name}' already; choose another name, or first take it away: "
            f"stillmotion models remove {name}"
        )
    text = description.model_dump_json(indent=2, exclude_defaults=True)
    with atomic_path(_file(name), overwrite=False) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    return _file(name)


def remove_user_model(name: str) -> Path:
    """Take away a description; the weights stay.  Returns the file that it was in.

    Raises ModelError if the user has no model of that name.
    """
    if name not in user_model_names():
        yours = ", ".join(user_model_names()) or "none yet"
        raise ModelError(f"you have added no model '{name}'; yours are: {yours}")
    _file(name).unlink()
    return _file(name)


def _folder() -> Path:
    return data_home() / "models"


def _file(name: str) -> Path:
    return _folder() / f"{name}.json"
