"""The package's source as syntax trees: what the contract tests and the equation index read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / "stillmotion"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: its dotted name, its path within the repository, its text and tree."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def part(self) -> str:
        """Second component of the dotted name (``diffusion``), empty for the package itself."""
        return self.name.partition(".")[2].partition(".")[0]

    @property
    def is_package(self) -> bool:
        """Whether the file is an ``__init__.py``."""
        return self.path.endswith("__init__.py")


@dataclass(frozen=True)
class Definition:
    """A function, method or class with its dotted name inside the module."""

    name: str
    node: Function | ast.ClassDef
    in_class: bool

    @property
    def docstring(self) -> str:
        """The cleaned docstring, empty where there is none."""
        return ast.get_docstring(self.node) or ""


def parse(path: str, text: str) -> Module:
    """Parse the file at ``path`` (from the repository's root, ``src/stillmotion/...``)."""
    parts = Path(path).with_suffix("").parts[1:]
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name=name, path=path, text=text, tree=ast.parse(text, filename=path))


def package_modules() -> list[Module]:
    """Every module of the package, sorted by path."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [
        parse(file.relative_to(REPOSITORY).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
    ]


def definitions(module: Module) -> Iterator[Definition]:
    """Every function, method and class of the module, nested ones included, from the top down."""

    def walk(node: ast.AST, prefix: str, in_class: bool) -> Iterator[Definition]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}{child.name}"
                yield Definition(name, child, in_class)
                yield from walk(child, f"{name}.", isinstance(child, ast.ClassDef))
            else:
                yield from walk(child, prefix, in_class)

    yield from walk(module.tree, "", False)
