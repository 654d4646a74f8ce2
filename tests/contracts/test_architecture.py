"""Imports run only downwards, without cycles; see docs/decisions/0001."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import pytest

from tools.source import PACKAGE, Module, package_modules, parse

# From the bottom up. A part imports from lower rows and, without a cycle, from its own row.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"types", "errors"}),
    frozenset({"diffusion", "world"}),
    frozenset({"adapters", "kernels", "media", "models", "runtime"}),
    frozenset({"animatezero", "dynamicrafter"}),
    frozenset({"training"}),
    frozenset({"finetuning", "miniature"}),
    frozenset({"benchmarks", "evaluation"}),
    frozenset({"jobs"}),
    frozenset({"queueing"}),
    frozenset({"server", "client"}),
    frozenset({"studio"}),
    frozenset({"apps", "__main__"}),
)
ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts}

# What the rows alone would allow: one paper never leans on the other, and training knows neither.
PAPERS = frozenset({"animatezero", "dynamicrafter"})
NEVER: dict[str, frozenset[str]] = {
    "animatezero": PAPERS - {"animatezero"},
    "dynamicrafter": PAPERS - {"dynamicrafter"},
    "training": PAPERS,
}
# The theory and the world are plain torch: usable, and testable, without any model library.
PURE = frozenset({"diffusion", "world"})
MODEL_LIBRARIES = frozenset({"diffusers", "transformers", "peft", "accelerate"})


@dataclass(frozen=True)
class Import:
    """An imported module (or, from a module, one of its names) and where it is written."""

    target: str
    name: str | None
    where: str

    @property
    def part(self) -> str:
        """Second component of the target inside the package."""
        return self.target.partition(".")[2].partition(".")[0]

    @property
    def is_own(self) -> bool:
        """Whether the target belongs to this package."""
        return self.target.partition(".")[0] == "stillmotion"


def base_of(module: Module, node: ast.ImportFrom) -> str:
    """Absolute name of the module that a ``from ... import`` reads."""
    if not node.level:
        return node.module or ""
    above = node.level - (1 if module.is_package else 0)
    parents = module.name.split(".")
    base = parents[: len(parents) - above]
    return ".".join([*base, node.module] if node.module else base)


def imports(module: Module, known: frozenset[str]) -> Iterator[Import]:
    """All imports of a module: at the top, in functions, for type checking, and by string."""
    for node in ast.walk(module.tree):
        where = f"{module.path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, None, where)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(module, node)
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (
                    Import(whole, None, where)
                    if whole in known
                    else Import(base, alias.name, where)
                )
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                yield Import(str(node.args[0].value), None, where)


def all_imports(modules: Sequence[Module]) -> Iterator[tuple[Module, Import]]:
    """Every import of every module but the package's own ``__init__``, which shows the names."""
    known = frozenset(module.name for module in modules)
    for module in modules:
        if module.name != "stillmotion":
            for found in imports(module, known):
                yield module, found


def wrong_directions(modules: Sequence[Module]) -> list[str]:
    """Imports that run upwards, between the papers, or through the public face."""
    wrong = []
    for module, found in all_imports(modules):
        if not found.is_own:
            continue
        said = f"{found.where}: {module.part} imports {found.target}"
        if found.target == "stillmotion":
            if found.name != "__version__":
                wrong.append(f"{said}: import from the module that holds the name")
        elif found.part not in ROW:
            wrong.append(f"{said}: {found.part!r} is in no layer")
        elif ROW[found.part] > ROW[module.part]:
            wrong.append(f"{said}: upwards")
        elif found.part in NEVER.get(module.part, ()):
            wrong.append(f"{said}: these two are kept apart")
    return wrong


def impure_imports(modules: Sequence[Module]) -> list[str]:
    """Model libraries imported by the parts that must be plain torch."""
    return [
        f"{found.where}: {module.part} imports {found.target}"
        for module, found in all_imports(modules)
        if module.part in PURE and found.target.partition(".")[0] in MODEL_LIBRARIES
    ]


def cycle(modules: Sequence[Module], *, by_part: bool) -> list[str]:
    """One cycle of imports between modules, or between parts, or an empty list."""
    graph: dict[str, set[str]] = {}
    for module, found in all_imports(modules):
        if found.is_own and found.target != "stillmotion":
            source, target = (module.part, found.part) if by_part else (module.name, found.target)
            if not (by_part and source == target):
                graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def package() -> list[Module]:
    return package_modules()


def test_every_part_has_a_layer(package: list[Module]) -> None:
    parts = {module.part for module in package} - {""}
    assert parts - ROW.keys() == set(), "name these in LAYERS, at the place where they belong"


def test_imports_run_downwards(package: list[Module]) -> None:
    assert wrong_directions(package) == []


def test_theory_and_world_are_plain_torch(package: list[Module]) -> None:
    assert impure_imports(package) == []


def test_no_cycle_between_modules(package: list[Module]) -> None:
    assert cycle(package, by_part=False) == []


def test_no_cycle_between_parts(package: list[Module]) -> None:
    assert cycle(package, by_part=True) == []


def test_every_folder_with_code_is_a_package() -> None:
    folders = {file.parent for file in PACKAGE.rglob("*.py")}
    assert [
        str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()
    ] == []


# The rules themselves, on small samples: a rule that cannot fail protects nothing.


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/stillmotion/diffusion/ddim.py", "from stillmotion.models.loading import load"),
        ("src/stillmotion/diffusion/ddim.py", "def f():\n    import stillmotion.apps.cli"),
        ("src/stillmotion/media/clips.py", "from ..training import loop"),
        ("src/stillmotion/media/__init__.py", "from ..training import loop"),
        ("src/stillmotion/models/a.py", "importlib.import_module('stillmotion.apps')"),
        ("src/stillmotion/models/a.py", "if TYPE_CHECKING:\n    from stillmotion import apps"),
        ("src/stillmotion/animatezero/a.py", "import stillmotion.dynamicrafter.unet"),
        ("src/stillmotion/dynamicrafter/a.py", "import stillmotion.animatezero.anchors"),
        ("src/stillmotion/training/loop.py", "import stillmotion.animatezero.pipeline"),
        ("src/stillmotion/apps/cli.py", "from stillmotion import Still"),
        ("src/stillmotion/apps/cli.py", "import stillmotion.elsewhere"),
    ],
)
def test_wrong_directions_are_seen(path: str, text: str) -> None:
    apps = parse("src/stillmotion/apps/__init__.py", "")
    assert len(wrong_directions([apps, parse(path, text)])) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/stillmotion/apps/cli.py", "from stillmotion.diffusion.ddim import step"),
        ("src/stillmotion/media/clips.py", "from .images import open_image"),
        ("src/stillmotion/media/clips.py", "from ..errors import OutputError"),
        ("src/stillmotion/models/loading.py", "from stillmotion.runtime.device import pick"),
        ("src/stillmotion/media/provenance.py", "from stillmotion import __version__"),
        ("src/stillmotion/__init__.py", "import stillmotion.apps.cli"),
    ],
)
def test_right_directions_pass(path: str, text: str) -> None:
    assert wrong_directions([parse(path, text)]) == []


def test_impure_imports_are_seen() -> None:
    theory = parse("src/stillmotion/world/scene.py", "import torch\nfrom diffusers import X")
    assert len(impure_imports([theory])) == 1


def test_cycles_are_seen() -> None:
    clips = parse("src/stillmotion/media/clips.py", "from stillmotion.models.a import x")
    model = parse("src/stillmotion/models/a.py", "from stillmotion.media.images import y")
    images = parse("src/stillmotion/media/images.py", "")
    assert cycle([clips, model, images], by_part=False) == []
    assert set(cycle([clips, model, images], by_part=True)) == {"media", "models"}
    images = parse("src/stillmotion/media/images.py", "from . import clips")
    assert len(set(cycle([clips, model, images], by_part=False))) == 3
