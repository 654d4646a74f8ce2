"""Pages read back: elements and attributes as a browser would find them, and pictures in them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID = frozenset({"meta", "link", "img", "input", "br"})
"""Tags that are never closed."""


@dataclass
class Element:
    """A tag with its attributes and the text right inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """All elements of a page, in order."""

    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a tag with these attributes; `data_x` stands for `data-x`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [one for one in self.elements
                if one.tag == tag and wanted.items() <= one.attributes.items()]  # fmt: skip


def read_page(path: Path) -> Page:
    """Parse a file; fails if tags are not closed in their order."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert [one.tag for one in page._open] == []
    return page


def picture(uri: str) -> NDArray[np.uint8]:
    """The picture in a data: URI, uint8 (h w 3)."""
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
        return np.asarray(image.convert("RGB"))


def cut(sheet: NDArray[np.uint8], width: int, height: int, columns: int) -> list[NDArray[np.uint8]]:
    """The frames of a strip, row by row, as the page's script cuts them."""
    rows = sheet.shape[0] // height
    return [
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y in range(rows) for x in range(columns)
    ]  # fmt: skip
