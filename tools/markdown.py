"""The fenced blocks and links of the documents: what the documentation test reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tools.source import REPOSITORY

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n+)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(
    r"\]\((?!https?:|mailto:|#)(?P<target>[^)\s#]+)[^)]*\)"
    r"|<(?:img|a|source|video)[^>]*?(?:src|href)=\"(?!https?:|#)(?P<source>[^\"#]+)"
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` says why it is not run, empty where it is."""

    language: str
    body: str
    reason: str

    def commands(self) -> list[str]:
        """The shell commands of the block: continued lines joined, prompts and comments dropped."""
        joined = re.sub(r"\s*\\\n\s*", " ", self.body)
        lines = (line.strip().removeprefix("$ ") for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def documents() -> list[Path]:
    """The Markdown files written for readers: those at the root and those below docs/."""
    return sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a document, in order."""
    return [
        Block(match["language"], match["body"], match["reason"] or "")
        for match in _FENCE.finditer(text)
    ]


def links(text: str) -> list[str]:
    """Targets of the links and pictures that lie in this repository."""
    prose = _FENCE.sub("", text)
    return [match["target"] or match["source"] for match in _LINK.finditer(prose)]
