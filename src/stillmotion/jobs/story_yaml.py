"""YAML that people write by hand: only plain values, and no key twice."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from stillmotion.errors import InputError

MAX_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Builds plain values alone; refuses what would silently replace something said before."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"'{key.value}' is there twice", key.start_mark
                    )
                seen.add(key.value)
        built: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return built


def read_yaml(path: Path) -> Any:
    """The content of a file.  Raises InputError if it is not there, or not YAML."""
    if not path.is_file():
        raise InputError(f"there is no script '{path}'; check the name.")
    return parse_yaml(path.read_bytes(), f"'{path}'")


def parse_yaml(content: bytes, name: str) -> Any:
    """The content of what sentences call `name`.  Raises InputError if it is not YAML."""
    if len(content) > MAX_BYTES:
        raise InputError(f"{name} has {len(content)} bytes; a script has at most {MAX_BYTES}.")
    try:
        return yaml.load(content.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text; save it as such.") from error
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply to be a script.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f", line {mark.line + 1}"
        raise InputError(f"{name}{where}: {error.problem}; mend the YAML there.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: 2024-13-45 and other such values
        problem = " ".join(str(error).split())
        raise InputError(f"{name} cannot be read as YAML: {problem}.") from error
