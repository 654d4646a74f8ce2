"""Index of the papers' equations: which function holds each one, and which tests speak of it.

A function or class that implements a numbered equation says so in a docstring line of its own,

    Equation: AnimateZero Eq. 7

with several numbers as ``Eq. 6, 9`` and an optional note in parentheses.  The contract test asks
that every equation listed below has exactly one such home.  ``python -m tools.equations`` writes
docs/equations.md from what it finds.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.source import REPOSITORY, Module, definitions, package_modules

DOCUMENT = REPOSITORY / "docs" / "equations.md"
COMMAND = "make equations"

_MARK = re.compile(r"^\s*Equation:.*", re.MULTILINE)
_CLAIM = re.compile(
    r"\s*Equation: (?P<paper>\w+) Eqs?\. (?P<numbers>\d+(?:(?:, | and )\d+)*)(?:$|[.;:]| \()"
)


@dataclass(frozen=True)
class Paper:
    """A paper and its numbered equations, each with a few words on what it states."""

    arxiv: str
    equations: Mapping[int, str]


@dataclass(frozen=True)
class Home:
    """A function or class that says it implements an equation."""

    paper: str
    number: int
    path: str
    name: str
    summary: str


PAPERS: Mapping[str, Paper] = {
    "AnimateZero": Paper(
        arxiv="2312.03793",
        equations={
            1: "queries, keys and values with positions added",
            2: "global temporal attention, all frames at once",
            3: "global temporal attention, one frame",
            4: "window attention of one frame",
            5: "keys and values of the window",
            6: "keys and values of the window, positions corrected",
            7: "pool of every token at every position",
            8: "window attention with corrected positions",
            9: "keys and values limited to the first i frames",
            10: "one denoising step",
            11: "time travel: back to the noisier step",
        },
    ),
    "DynamiCrafter": Paper(
        arxiv="2310.12190",
        equations={
            1: "what a denoising network is trained to minimise",
            2: "attention to the text plus gated attention to the image",
        },
    ),
}


def homes(modules: Iterable[Module]) -> Iterator[Home]:
    """Every claim ``Equation: ...`` in the docstrings of functions and classes.

    Raises:
        ValueError: a claim that cannot be read, so that a slip of the pen is not an absence.
    """
    for module in modules:
        for definition in definitions(module):
            summary = " ".join(definition.docstring.split("\n\n")[0].split())
            for line in _MARK.findall(definition.docstring):
                claim = _CLAIM.match(line)
                if claim is None:
                    raise ValueError(
                        f"{module.path}: {definition.name}: cannot read {line.strip()!r}; "
                        "write for example 'Equation: AnimateZero Eq. 7'"
                    )
                for number in map(int, re.findall(r"\d+", claim["numbers"])):
                    yield Home(claim["paper"], number, module.path, definition.name, summary)


def misplaced(found: Sequence[Home], papers: Mapping[str, Paper]) -> list[str]:
    """Equations without a home or with several, and homes of equations that no list names."""
    wrong = []
    for title, paper in papers.items():
        for number in paper.equations:
            places = [
                f"{home.path}: {home.name}"
                for home in found
                if (home.paper, home.number) == (title, number)
            ]
            if len(places) != 1:
                wrong.append(f"{title} Eq. {number} has {len(places)} homes: {places}")
    wrong += [
        f"{home.path}: {home.name} claims {home.paper} Eq. {home.number}, which is not listed"
        for home in found
        if home.paper not in papers or home.number not in papers[home.paper].equations
    ]
    return wrong


def test_files() -> dict[str, str]:
    """Path and text of every test file; the contract tests speak of no equation."""
    return {
        file.relative_to(REPOSITORY).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted((REPOSITORY / "tests").rglob("test_*.py"))
        if "contracts" not in file.parts
    }


def tests_of(home: Home, files: Mapping[str, str]) -> list[str]:
    """Test files that mention the name of the home."""
    word = re.compile(rf"\b{re.escape(home.name.rpartition('.')[2])}\b")
    return [path for path, text in files.items() if word.search(text)]


def document(found: Sequence[Home], files: Mapping[str, str]) -> str:
    """The text of docs/equations.md."""
    lines = [
        "# Equations",
        "",
        f"Written by `{COMMAND}` from the docstrings; a test keeps it up to date.",
    ]
    for title, paper in PAPERS.items():
        if not paper.equations:
            continue
        lines += [
            "",
            f"## {title} ([arXiv:{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))",
            "",
            "| Eq. | what it states | where | what the code says | tests |",
            "|---|---|---|---|---|",
        ]
        for number, statement in paper.equations.items():
            lines += [
                _row(home, statement, tests_of(home, files))
                for home in found
                if (home.paper, home.number) == (title, number)
            ]
    return "\n".join(lines) + "\n"


def _row(home: Home, statement: str, tests: Sequence[str]) -> str:
    where = f"[{home.path.removeprefix('src/stillmotion/')}](../{home.path}): `{home.name}`"
    links = ", ".join(f"[{path.removeprefix('tests/')}](../{path})" for path in tests)
    first = re.split(r"(?<=[.;])\s", home.summary)[0]
    cell = textwrap.shorten(first, 100, placeholder=" ...").replace("|", "\\|")
    return f"| {home.number} | {statement} | {where} | {cell} | {links} |"


if __name__ == "__main__":
    DOCUMENT.write_text(document(list(homes(package_modules())), test_files()), encoding="utf-8")
