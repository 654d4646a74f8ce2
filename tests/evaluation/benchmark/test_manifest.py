"""A run goes on only with what it began with, and can be added to."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.benchmark.test_folder import manifest

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Feature, Manifest, Method, RunFolder
from stillmotion.evaluation.benchmark.manifest import begin, described, versions
from stillmotion.evaluation.benchmark.registry import registry

ONE, TWO = Method(name="one", title="One"), Method(name="two", title="Two")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    begin(folder, manifest())
    return folder


def test_methods_and_cases_are_added_and_none_is_lost(run: RunFolder) -> None:
    case = Case(name="0001", prompt="b", seed=2)
    found = begin(run, manifest(methods=(TWO,), cases=(case,)))
    assert [one.name for one in found.methods] == ["two", "one"]
    assert [one.name for one in found.cases] == ["0001", "0000"]
    assert run.read_manifest() == found


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"protocol": "animatezero"}, "protocol"),
        ({"scored_from": "decoded mp4"}, "scored_from"),
        ({"extractors": {"clip": Feature(name="CLIP", identity="1")}}, "extractors"),
        ({"methods": (Method(name="one", title="One", identity="f00"),)}, "method 'one'"),
        ({"cases": (Case(name="0000", prompt="a red ball", seed=2),)}, "case '0000'"),
    ],
)
def test_what_differs_is_refused(run: RunFolder, changes: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=f"holds a run with another {what}"):
        begin(run, manifest(**changes))
    assert run.read_manifest() == manifest()


def test_another_version_of_a_library_is_noted_and_no_reason_to_stop(run: RunFolder) -> None:
    found: Manifest = begin(run, manifest(versions={"stillmotion": "2"}))
    assert found.versions == {"stillmotion": "2"}


def test_a_method_carries_the_weights_it_uses() -> None:
    models = {"animatezero": "miniature", "dynamicrafter": "miniature-dynamicrafter"}
    spec = registry("animatezero")["animatezero"]
    cases = [Case(name="a", prompt="", seed=0, facts={"look": "neon"})]
    told = described(spec, models, {}, cases)
    assert told.model == "miniature"
    assert len(told.identity) == 64
    assert described(registry("dynamicrafter")["still"], models, {}, cases).identity == ""


def test_versions_name_what_results_depend_on() -> None:
    assert {"stillmotion", "python", "torch", "diffusers", "numpy"} <= set(versions())
