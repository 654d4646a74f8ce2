"""What is shipped beside the code stays small and harmless, and the commands agree."""

from __future__ import annotations

import tomllib

from tools.source import PACKAGE, REPOSITORY

WEIGHTS = PACKAGE / "miniature" / "weights"
MAX_WEIGHTS_BYTES = 60_000_000
# Nothing that runs code when it is read: no pickles, no scripts.
WEIGHT_FORMATS = {".safetensors", ".json", ".txt", ".md"}


def test_weights_are_small() -> None:
    sizes = [file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()]
    assert sizes, f"{WEIGHTS} holds no weights"
    assert sum(sizes) <= MAX_WEIGHTS_BYTES


def test_weights_are_in_formats_that_run_no_code() -> None:
    files = [file for file in WEIGHTS.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= WEIGHT_FORMATS


def test_constraints_fix_every_declared_dependency() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [line for group in project["optional-dependencies"].values() for line in group]
    names = {line.split(">")[0].lower() for line in [*project["dependencies"], *extras]}
    names -= {name for name in names if name.startswith("stillmotion[")}  # its own extras
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    fixed = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert names <= fixed.keys()
    assert not [name for name in fixed if name.startswith("nvidia")]


def test_continuous_integration_runs_the_readmes_test_command() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert script.stat().st_mode & 0o111, f"{script} is not executable"
    command = script.read_text().splitlines()[-1].removeprefix("exec ")
    assert command == "make test"
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()
    assert command in [line.strip() for line in readme]
