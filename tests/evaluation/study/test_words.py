"""Words in another language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillmotion.errors import InputError
from stillmotion.evaluation.study.designs import DESIGNS
from stillmotion.evaluation.study.words import WORDS, translated


def test_every_question_has_words() -> None:
    for design in DESIGNS.values():
        for aspect in design.aspects:
            assert {f"{aspect.key}.title", f"{aspect.key}.question"} <= WORDS.keys()


def test_a_translation(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"next": "Weiter", "clip": "Clip „{letter}“"}), encoding="utf-8")
    words = translated(path)
    assert words["next"] == "Weiter"
    assert words["back"] == WORDS["back"]
    assert translated(None) == WORDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object whose values are texts"),
        ('{"next": 3}', "one JSON object whose values are texts"),
        ('{"nxt": "Weiter"}', "has words for nxt, which the page does not use"),
        ('{"clip": "Clip"}', r"must have the placeholders \{letter\}, not none"),
        ('{"next": "{letter}"}', r"must have the placeholders none, not \{letter\}"),
    ],
)
def test_refused_translations(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "words.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        translated(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        translated(tmp_path / "words.json")
