"""Every command and every program in the documents runs as it is printed.

Blocks of one document run in order, in one empty folder.  A block that cannot run here has
``<!-- not run: reason -->`` on the line before it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from tools.markdown import Block, blocks, documents, links
from tools.source import REPOSITORY

SECONDS_PER_BLOCK = 300
# Steps that prepare a shell and tell nothing about this package.
PREPARATIONS = ("git clone ", "cd ", "python3 -m venv ", "source ", ". ")
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def run(arguments: list[str], folder: Path) -> None:
    """Run this interpreter in a folder; on failure say all that it said."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        timeout=SECONDS_PER_BLOCK,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


def pip_mistakes(words: list[str]) -> list[str]:
    """What a ``pip install`` asks for that this repository does not have."""
    mistakes = []
    for before, word in pairwise(words):
        extra = re.fullmatch(r"(?:\.|stillmotion)\[(.+)\]", word)
        if before in ("-c", "-r") and not (REPOSITORY / word).is_file():
            mistakes.append(f"no file {word}")
        if extra and not set(extra[1].split(",")) <= PROJECT["optional-dependencies"].keys():
            mistakes.append(f"no extra {extra[1]}")
    return mistakes


def check_command(command: str, folder: Path) -> None:
    """Run a command of ours; compare ``make`` and ``pip install`` with what the project has."""
    words = shlex.split(command, comments=True)
    if words[0] == "stillmotion":
        run(["-m", *words], folder)
    elif words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
        assert targets <= MAKE_TARGETS, f"the Makefile has no {targets - MAKE_TARGETS}"
    elif "pip" in Path(words[0]).name or words[1:3] == ["-m", "pip"]:
        assert pip_mistakes(words) == [], command
    else:
        known = command.startswith(PREPARATIONS) or command == ".ci/run"
        assert known, f"{command!r} is checked by nothing; put '<!-- not run: reason -->' before it"


def check_block(block: Block, folder: Path) -> None:
    """Run a block's commands, or its program."""
    if block.language in ("bash", "sh"):
        for command in block.commands():
            check_command(command, folder)
    elif block.language == "python":
        run(["-c", block.body], folder)


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_blocks_run(document: Path, tmp_path: Path) -> None:
    for block in blocks(document.read_text(encoding="utf-8")):
        if not block.reason:
            check_block(block, tmp_path)


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = links(document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_readme_shows_commands_that_run() -> None:
    found = blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    commands = [line for block in found if not block.reason for line in block.commands()]
    assert any(line.startswith("stillmotion ") for line in commands)


# The test itself, on small samples.


def test_blocks_are_found() -> None:
    found = blocks(
        "```bash\n$ stillmotion draw \\\n  x\n# why\nmake test\n```\n\n"
        "<!-- not run: needs a download -->\n\n```python title\nprint(1)\n```\n"
        "```\nplain\n```\n"
    )
    assert [(block.language, block.reason) for block in found] == [
        ("bash", ""),
        ("python", "needs a download"),
        ("", ""),
    ]
    assert found[0].commands() == ["stillmotion draw x", "make test"]


def test_links_are_found() -> None:
    text = '[a](b.md#c) [d](https://e) [f](#g) ![h](i.gif "j") <img width=3 src="k.png">'
    assert links(text) == ["b.md", "i.gif", "k.png"]


@pytest.mark.parametrize(
    "command",
    [
        "make tea",
        "pip install -c elsewhere.txt -e .",
        "pip install '.[nothing]'",
        "ffmpeg -i a.mp4",
    ],
)
def test_wrong_commands_are_seen(command: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        check_command(command, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        "make test PYTHON=python3.12",
        ".venv/bin/pip install -c constraints.txt -e '.[dev]'",
        "cd stillmotion",
    ],
)
def test_right_commands_pass(command: str, tmp_path: Path) -> None:
    check_command(command, tmp_path)


def test_failing_programs_are_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        check_block(Block("python", "1 / 0", ""), tmp_path)
