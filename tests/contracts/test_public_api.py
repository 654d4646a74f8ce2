"""The public names are frozen, and naming the package costs no heavy import."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import stillmotion
from tools.source import package_modules

# Taking a name away breaks somebody's program: it needs a new major version and a changelog line.
PUBLIC_NAMES = [
    "AnimateZeroPipeline",
    "AnimateZeroSettings",
    "Provenance",
    "SamplingSettings",
    "Still",
    "StillmotionError",
    "load_clip",
    "load_pipeline",
    "save_clip",
]
HEAVY = ("av", "diffusers", "numpy", "peft", "PIL", "torch", "transformers")


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after the statement."""
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(HEAVY) & set(done.stdout.split())


def test_public_names_are_frozen() -> None:
    assert sorted(stillmotion.__all__) == PUBLIC_NAMES


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_public_name_can_be_fetched(name: str) -> None:
    value = getattr(stillmotion, name)
    assert value.__name__ == name
    assert value.__doc__


def test_types_are_declared_where_names_are_fetched() -> None:
    """The imports for type checkers and the homes for the interpreter say the same."""
    root = next(module for module in package_modules() if module.name == "stillmotion")
    declared = {
        alias.name: node.module
        for node in ast.walk(root.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stillmotion.")
        for alias in node.names
    }
    assert declared == stillmotion._HOMES
    assert sorted(declared) == PUBLIC_NAMES


def test_names_are_listed_before_they_are_fetched() -> None:
    assert set(PUBLIC_NAMES) <= set(dir(stillmotion))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clip'"):
        stillmotion.Clip  # noqa: B018


def test_heavy_imports_are_seen() -> None:
    assert "numpy" in loaded_by("import numpy")


def test_importing_the_package_is_light() -> None:
    assert loaded_by("import stillmotion") == set()


def test_importing_every_part_is_light() -> None:
    packages = [module.name for module in package_modules() if module.is_package]
    assert loaded_by("import " + ", ".join(packages)) == set()
