"""The page of a study: one HTML file that works from the disk and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillmotion.evaluation.study.build import Study

PARTS = Path(__file__).with_name("page")
SCRIPTS = ("stream", "memory", "player", "answering", "screens", "study")
"""In the order in which each builds on those before."""
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def render(study: Study) -> str:
    """The HTML: style, program and clips inside, and a policy that forbids everything else."""
    style = (PARTS / "study.css").read_text(encoding="utf-8")
    script = program()
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "language": html.escape(study.words["language"]),
        "title": html.escape(study.words["title"]),
        "no_script": html.escape(study.words["no_script"]),
        "policy": html.escape(policy),
        "style": style,
        "data": embedded(study.data),
        "script": script,
    }
    template = (PARTS / "study.html").read_text(encoding="utf-8")
    # In one pass, so that what is put in is never looked through for places itself.
    return _PLACE.sub(lambda place: parts[place[1]], template)


def program() -> str:
    """The page's JavaScript, in a scope of its own."""
    parts = [(PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or begin one."""
    text = json.dumps(data, ensure_ascii=True)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _sha256(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
