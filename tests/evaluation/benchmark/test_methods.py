"""Which methods there are, which are chosen, and how others add theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark import own_methods
from stillmotion.evaluation.benchmark import registry as registered
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.methods import Context, Job, MethodSpec
from stillmotion.evaluation.benchmark.own_methods import reference_of
from stillmotion.evaluation.benchmark.registry import chosen, registry
from stillmotion.media.still import Still


@dataclass
class Entry:
    """Stands for an entry point."""

    name: str
    loaded: Any
    value: str = "other.package:SPEC"

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def spec(name: str) -> MethodSpec:
    return MethodSpec(name=name, title=name, build=own_methods.StillMaker)


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Any:
    def plug_in(entry: Entry) -> None:
        monkeypatch.setattr(registered, "entry_points", lambda group: [entry])

    return plug_in


def test_every_row_of_fig_6_is_there_with_its_settings() -> None:
    found = registry("animatezero")
    assert [name for name in found if name.startswith("fig6-")] == [f"fig6-{x}" for x in "bcde"]
    for row in "bcde":
        maker: Any = found[f"fig6-{row}"].build(CONTEXT)
        assert maker.control == FIG6_ROWS[row]
    plain: Any = found["animatediff"].build(CONTEXT)
    assert plain.control == FIG6_ROWS["a"]
    ours: Any = found["animatezero"].build(CONTEXT)
    assert ours.control == AnimateZeroSettings()


CONTEXT = Context(models={"animatezero": "a", "dynamicrafter": "b"}, weights=None, device="cpu")


def test_the_usual_ones_are_taken_without_names() -> None:
    names = [one.name for one in chosen("dynamicrafter", (), {})]
    assert names == [
        "dynamicrafter", "without-text", "without-context", "without-detail-guidance", "still",
    ]  # fmt: skip


def test_names_choose_and_are_taken_once() -> None:
    found = chosen("animatezero", ("animatezero", "animatediff", "animatezero"), {})
    assert [one.name for one in found] == ["animatezero", "animatediff"]


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"no method 'gen-2'; there are: animatediff, fig6-b"):
        chosen("animatezero", ("gen-2",), {})


def test_a_method_of_the_other_benchmark_is_refused() -> None:
    with pytest.raises(InputError, match="no method 'animatediff'"):
        chosen("dynamicrafter", ("animatediff",), {})


def test_a_method_without_its_weights_says_how_to_give_them() -> None:
    with pytest.raises(InputError, match=r"'svd' needs .*; give it with --weights svd=PATH"):
        chosen("animatezero", ("svd",), {})


def test_weights_make_a_method_one_of_the_usual() -> None:
    assert "svd" in [one.name for one in chosen("animatezero", (), {"svd": "folder"})]


def test_a_plug_in_takes_part(add: Any) -> None:
    add(Entry("mine", spec("mine")))
    assert registry("animatezero")["mine"].title == "mine"


@pytest.mark.parametrize(
    ("loaded", "sentence"),
    [
        (spec("animatezero"), "two methods are called 'animatezero'"),
        (spec, "is function, not a MethodSpec"),
        (ImportError("no such module"), r"cannot be loaded \(no such module\)"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named(add: Any, loaded: Any, sentence: str) -> None:
    add(Entry("mine", loaded))
    with pytest.raises(InputError, match=sentence):
        registry("animatezero")


def test_the_model_of_a_case_is_its_own_or_the_benchmarks() -> None:
    assert reference_of("miniature", {}) == "miniature"
    assert reference_of("miniature", {"look": "plain"}) == "miniature"
    assert reference_of("miniature", {"look": "neon"}) == "miniature@neon"
    assert reference_of("miniature", {"model": "toonyou"}) == "toonyou"


def test_the_picture_at_rest_is_the_picture() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    job = Job(case=Case(name="x", prompt="", seed=0), still=Still(image=picture), num_frames=3)
    frames = own_methods.StillMaker(CONTEXT).make(job)
    assert frames.shape == (3, 4, 4, 3)
    assert (frames == picture).all()
