"""One file, no network, and hostile texts stay texts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from tests.evaluation.study.runs import PROMPT

from stillmotion.evaluation.study.build import Study, StudyOptions, build_study
from stillmotion.evaluation.study.material import Material
from stillmotion.evaluation.study.page import PARTS, SCRIPTS, embedded, render
from stillmotion.evaluation.study.words import WORDS

HOSTILE = "</title><script>alert(1)</script>{{script}}<!-- \" ' & \u2028"


class Reader(HTMLParser):
    """The elements of a page, and the text inside of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")

        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.tags, self.texts, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


@pytest.fixture(scope="module")
def hostile(material: Material) -> Study:
    words = {**WORDS, "title": HOSTILE, "instructions": HOSTILE, "no_script": HOSTILE}
    return build_study(material, StudyOptions(seed=5, words=words))


def sha256(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_only_what_is_inside(ranking: Study) -> None:
    page = Reader(render(ranking))
    [policy] = [a["content"] for a, _ in page.all("meta") if "http-equiv" in a]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    [(_, style)] = page.all("style")
    [_, (_, script)] = page.all("script")
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": sha256(style),
        "script-src": sha256(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_nothing_is_fetched(ranking: Study) -> None:
    text = render(ranking)
    page = Reader(text)
    addresses = [value for _, attributes in page.tags for name, value in attributes.items()
                 if name in ("src", "href", "srcset", "action", "data")]  # fmt: skip
    assert addresses == ["data:,"]  # an empty icon, so that none is looked for
    rest = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    assert len(rest) < len(text) / 1.2
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest|WebSocket", rest)


def test_hostile_texts_stay_texts(hostile: Study) -> None:
    page = Reader(render(hostile))
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert page.all("title")[0][1] == HOSTILE
    [(_, data), _] = page.all("script")
    assert not set("<>&") & set(data)
    assert data.isascii()
    found: dict[str, Any] = json.loads(data)
    assert found == hostile.data
    assert found["words"]["title"] == HOSTILE
    assert any(PROMPT in trial["prompt"] for trial in found["trials"])


def test_embedded_data_cannot_end_its_element() -> None:
    value = {"a": ["</script>", "<!--", "]]>", "é\u2029"]}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value


def test_texts_never_become_markup() -> None:
    program = "".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", program)
    assert {path.stem for path in PARTS.glob("*.js")} == set(SCRIPTS)


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    program = "".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    used = set(re.findall(r"words\.(\w+)", program))
    used |= set(re.findall(r'words\["([\w.]+)"\]', program))
    used |= {"language", "no_script"}  # in the HTML
    used |= {f"{kind}.{part}" for kind in ("rank", "best", "select")
             for part in ("action", "todo", "done")}  # fmt: skip
    used |= {key for key in WORDS if key.endswith((".title", ".question"))}
    assert used == set(WORDS)
