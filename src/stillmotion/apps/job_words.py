"""From words of a shell, or a file, to a job whose pictures and clips the server has."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillmotion.errors import InputError

if TYPE_CHECKING:
    from stillmotion.jobs.model import AnyJob

Upload = Callable[[Path], Mapping[str, Any]]
_ARTIFACT = re.compile(r"[0-9a-f]{32}")
# What the words after the kind are; of the last one, the prompt, some kinds can do without.
_WORDS = {
    "draw": ("prompt",),
    "animate": ("still", "prompt"),
    "loop": ("still", "prompt"),
    "interpolate": ("still", "last_frame", "prompt"),
    "edit": ("clip", "prompt"),
}
SOURCES = frozenset({"still", "last_frame", "from_clip", "clip", "ip_image"})
_LISTS = frozenset({"clips"})
_TABLES = frozenset({"pictures"})


def job_from_words(words: Sequence[str], file: Path | None, settings: Sequence[str]) -> AnyJob:
    """The job that a command line asks for.  Raises InputError (FieldError for a field)."""
    from stillmotion.jobs.model import parse_job

    if (file is None) == (not words):
        raise InputError("Give either a kind of job with its words, or --file with a whole job.")
    fields = _from_file(file) if file is not None else _from_words(words)
    return parse_job(_with_sources(_with_settings(fields, settings)))


def changed_job(job: Mapping[str, Any], settings: Sequence[str]) -> AnyJob:
    """A job with other values for some fields.  Raises InputError as `job_from_words`."""
    from stillmotion.jobs.model import parse_job

    return parse_job(_with_sources(_with_settings(job, settings)))


def with_uploads(job: AnyJob, upload: Upload) -> dict[str, Any]:
    """The job as JSON, its files sent by `upload` and named by their artifacts.

    A file that is named twice is sent once.
    """
    sent: dict[str, dict[str, str]] = {}

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(one) for one in value]
        if not isinstance(value, dict):
            return value
        if not isinstance(value.get("path"), str):
            return {key: replaced(one) for key, one in value.items()}
        path = value["path"]
        if path not in sent:
            sent[path] = {"artifact": upload(Path(path))["id"], "name": Path(path).name}
        return dict(sent[path])

    told = job.model_dump(mode="json", exclude_defaults=True)
    told = {
        key: replaced(value) if key in SOURCES | _LISTS | _TABLES else value
        for key, value in told.items()
    }
    return told | {"kind": job.kind}


def _from_words(words: Sequence[str]) -> dict[str, Any]:
    kind, *given = words
    names = _WORDS.get(kind)
    if names is None:
        raise InputError(
            f"'{kind}' is not a job that fits on a line; these do: {', '.join(_WORDS)}. Give any "
            "other with --file."
        )
    if len(given) > len(names):
        expected = " ".join(name.upper() for name in names)
        raise InputError(
            f"There are {len(given)} words after '{kind}', which takes {expected}; put texts in "
            "quotes."
        )
    return {"kind": kind, **dict(zip(names, given, strict=False))}


def _from_file(file: Path) -> dict[str, Any]:
    """JSON is YAML, too; names of files are relative to the folder of this one."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{file}' cannot be read; check the name.") from error
    except yaml.YAMLError as error:
        raise InputError(f"'{file}' is neither JSON nor YAML: {_first_line(error)}.") from error
    if not isinstance(content, dict):
        raise InputError(f"'{file}' is not a job; it needs fields, each as 'name: value'.")
    return _resolved(content, file.parent)


def _resolved(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Sources as text or `path`, made relative to `folder`."""

    def found(value: Any) -> Any:
        if isinstance(value, str) and not _ARTIFACT.fullmatch(value):
            return str(folder / value)
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            return value | {"path": str(folder / value["path"])}
        return value

    return {key: _in_source(key, value, found) for key, value in fields.items()}


def _with_settings(fields: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`--set field=value`, the value as in YAML: 7 is a number, on is not text."""
    import yaml

    told = dict(fields)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set is '{setting}'; give FIELD=VALUE, for instance seed=7.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(
                f"--set is '{setting}', whose value cannot be read: {_first_line(error)}; put it "
                "in quotes."
            ) from error
        # A text may look like something else; a prompt always is one.
        told[name.strip().replace("-", "_")] = text if name == "prompt" else value
    return told


def _with_sources(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Text in a field for pictures or clips is an artifact's id, or else a file."""

    def source(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return {"artifact": value} if _ARTIFACT.fullmatch(value) else {"path": value}

    return {key: _in_source(key, value, source) for key, value in fields.items()}


def _in_source(key: str, value: Any, change: Callable[[Any], Any]) -> Any:
    """A field with its sources changed; other fields as they are."""
    if key in SOURCES:
        return change(value)
    if key in _LISTS and isinstance(value, list):
        return [change(one) for one in value]
    if key in _TABLES and isinstance(value, dict):
        return {name: change(one) for name, one in value.items()}
    return value


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
