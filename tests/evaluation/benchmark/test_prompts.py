"""The shipped list of prompts, and lists of one's own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.own_methods import reference_of
from stillmotion.evaluation.benchmark.prompts import load_prompts, prompt_cases, shipped_prompts
from stillmotion.models.registry import catalogue

CHECKPOINTS = {
    "toonyou", "cardos-anime", "anything-v5", "counterfeit-v3", "realistic-vision-v51", "photon",
    "helloobject",
}  # fmt: skip


def test_the_shipped_list_covers_what_the_paper_names() -> None:
    prompts = shipped_prompts().prompts
    assert len(prompts) == 20
    assert {one.model for one in prompts} == CHECKPOINTS
    assert set(catalogue()) >= CHECKPOINTS
    kinds = Counter((one.style, one.category) for one in prompts)
    assert set(kinds) == {
        (style, category)
        for style in ("realistic", "cartoon")
        for category in ("character", "animal", "landscape")
    }
    assert min(kinds.values()) >= 2
    for field in ("name", "prompt", "seed"):
        assert len({getattr(one, field) for one in prompts}) == 20


def test_cartoon_models_get_cartoon_prompts() -> None:
    styles: dict[str | None, set[str]] = {}
    for one in shipped_prompts().prompts:
        styles.setdefault(one.model, set()).add(one.style)
    realistic = {"realistic-vision-v51", "photon", "helloobject"}
    assert styles == {
        name: {"realistic" if name in realistic else "cartoon"} for name in CHECKPOINTS
    }


def test_prompts_fit_into_clip() -> None:
    # CLIP reads 75 tokens; English words and commas have about 1.2 each.
    for one in shipped_prompts().prompts:
        assert len(one.prompt.replace(",", " ,").split()) * 1.3 < 75, one.name


def test_cases_name_the_model_that_makes_them() -> None:
    shipped = shipped_prompts()
    cases = prompt_cases(shipped)
    assert [case.name for case in cases] == [one.name for one in shipped.prompts]
    for case, one in zip(cases, shipped.prompts, strict=True):
        assert reference_of("miniature", case.facts) == one.model == case.group
        assert case.facts == {"model": one.model, "style": one.style, "category": one.category}
        assert (case.prompt, case.seed) == (one.prompt, one.seed)
        assert case.still == f"stills/{one.name}.png"


def test_text_has_a_prompt_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeff# mine\n\n  a cat \r\nein Hügel\n".encode())
    prompts = load_prompts(path).prompts
    assert [one.prompt for one in prompts] == ["a cat", "ein Hügel"]
    assert [one.name for one in prompts] == ["0000", "0001"]
    assert prompts[0].seed != prompts[1].seed
    assert load_prompts(path).prompts == prompts
    [first, _] = prompt_cases(load_prompts(path))
    assert (first.facts, first.group) == ({}, "")
    assert reference_of("miniature", first.facts) == "miniature"


def test_json_needs_only_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.JSON"
    path.write_text(
        json.dumps(
            {"prompts": [{"prompt": "a cat", "category": "animal"}, {"prompt": "b", "seed": 5}]}
        )
    )
    first, second = load_prompts(path).prompts
    assert (first.name, first.category, first.model) == ("0000", "animal", None)
    assert (second.name, second.seed) == ("0001", 5)
    assert prompt_cases(load_prompts(path))[0].group == "animal"


def test_the_shipped_list_can_be_copied_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "copy.json"
    path.write_text(shipped_prompts().model_dump_json())
    assert load_prompts(path) == shipped_prompts()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"prompts": []}, "prompts: Tuple should have at least 1 item"),
        ({"prompts": [{"prompt": " "}]}, "prompts.0.prompt: .*there are no words"),
        ({"prompts": [{"prompt": "a", "colour": 1}]}, "prompts.0.colour: Extra inputs"),
        ({"prompts": [{"prompt": "a"}], "more": 1}, "more: Extra inputs"),
        ({"prompts": [{"prompt": "a", "seed": -1}]}, "prompts.0.seed"),
        ({"prompts": [{"prompt": "a", "name": "../a"}]}, "prompts.0.name"),
        ({"prompts": [{"prompt": "a", "name": "x"}] * 2}, "2 prompts have the name 'x'"),
        ({"prompts": ["a cat"]}, "prompts.0"),
        ({"schema_version": 2, "prompts": [{"prompt": "a"}]}, "schema_version"),
        ([], "the whole"),
    ],
)
def test_wrong_lists_are_told(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=said) as caught:
        load_prompts(path)
    assert str(path) in str(caught.value)


def test_unreadable_lists_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_prompts(tmp_path / "none.txt")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="is no JSON"):
        load_prompts(tmp_path / "a.json")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_prompts(tmp_path / "b.txt")
    (tmp_path / "c.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="holds no prompts"):
        load_prompts(tmp_path / "c.txt")
