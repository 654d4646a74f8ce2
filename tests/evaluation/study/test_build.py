"""A study is blind, the same again from its seed, and fits its key."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.study.runs import METHODS, clip, make_run
from tests.evaluation.study.test_strips import frames_of

from stillmotion.errors import InputError
from stillmotion.evaluation.study.build import Study, StudyOptions, build_study, study_hash
from stillmotion.evaluation.study.material import Material, gather
from stillmotion.evaluation.study.page import render
from stillmotion.evaluation.study.simulate import shuffling_of
from stillmotion.evaluation.study.words import WORDS


def test_nothing_in_the_page_tells_a_method(
    ranking: Study, choosing: Study, material: Material
) -> None:
    for study in (ranking, choosing):
        page = render(study).lower()
        for method in material.methods:
            for word in (method.name, method.title, method.identity):
                assert word.lower() not in page
        for word in ("a secretive run", "case-0", "glide", ".webp", "stillmotion", "animatezero",
                     "dynamicrafter", "spoil", 'check"', "stills/"):  # fmt: skip
            assert word not in page


def test_identities_are_anonymous_and_the_clips_right(ranking: Study) -> None:
    trials = {trial["id"]: trial for trial in ranking.data["trials"]}
    seen: list[str] = []
    for trial in ranking.key.trials:
        shown = trials[trial.id]
        assert [one["id"] for one in shown["clips"]] == sorted(trial.clips)
        seen += trial.clips
        case = int(trial.case[-1])
        for one in shown["clips"]:
            method = METHODS.index(trial.clips[one["id"]])
            frames = frames_of(one["strip"], 6, 24, 32)
            right = np.array_equal(frames, clip(method, case))
            assert right == (one["id"] != trial.spoiled)
    assert len(set(seen)) == len(seen) == 3 * 5  # no clip has one name in two questions
    assert all(re.fullmatch("[0-9a-f]{12}", identity) for identity in seen)


def test_order_and_size_tell_no_method(material: Material) -> None:
    """Which method a question's first clip is of varies, and all strips are of one length."""
    firsts = set()
    for seed in range(8):
        study = build_study(material, StudyOptions(seed=seed))
        for trial, shown in zip(study.key.trials, study.data["trials"], strict=True):
            assert len({len(one["strip"]) for one in shown["clips"]}) == 1
            firsts.add(trial.clips[shown["clips"][0]["id"]])
    assert firsts == set(METHODS)


def test_each_method_is_at_each_place_about_equally_often(ranking: Study) -> None:
    owners = {trial.id: trial.clips for trial in ranking.key.trials}
    shuffling, raters = shuffling_of(ranking.key), 200
    places = Counter(
        (place, owners[step.trial][clip])
        for number in range(raters)
        for step in shuffling.steps(f"rater-{number}")
        for place, clip in enumerate(step.order)
    )
    expected = raters * ranking.key.num_showings / 3
    assert sum((places[place, method] - expected) ** 2 / expected
               for place in range(3) for method in METHODS) < 18.5  # fmt: skip


def test_the_same_seed_gives_the_same_study(material: Material, ranking: Study) -> None:
    again = build_study(material, StudyOptions(seed=5))
    assert again.data == ranking.data
    assert again.key == ranking.key
    other = build_study(material, StudyOptions(seed=6))
    assert other.key.study != ranking.key.study
    assert other.key.shuffle != ranking.key.shuffle
    assert not {t.id for t in other.key.trials} & {t.id for t in ranking.key.trials}


def test_the_hash_covers_all_that_is_shown(ranking: Study) -> None:
    assert ranking.data["study"] == ranking.key.study == study_hash(ranking.data)
    for change in ({"repeats": 0}, {"shuffle": "ab"}, {"words": {}}, {"trials": []}):
        assert study_hash({**ranking.data, **change}) != ranking.key.study


def test_the_seed_is_not_in_the_page(material: Material) -> None:
    study = build_study(material, StudyOptions(seed=918273645546372819))
    assert "918273645546372819" not in render(study)
    assert study.key.seed == 918273645546372819


def test_repeats_and_checks(material: Material, ranking: Study) -> None:
    kinds = [trial.kind for trial in ranking.key.trials]
    assert sorted(kinds) == ["case"] * 4 + ["check"]
    assert ranking.key.num_showings == 7
    assert set(ranking.key.repeatable) <= {t.id for t in ranking.key.trials if t.kind == "case"}
    # The page cannot be told the check from what comes twice: some cases never do either.
    assert len(ranking.key.repeatable) == 2
    assert len(shuffling_of(ranking.key).steps("anna")) == 7
    plain = build_study(material, StudyOptions(seed=5, repeats=0, checks=0))
    assert (plain.key.num_showings, plain.key.repeatable) == (4, ())


def test_checks_use_cases_that_are_not_asked_about(material: Material) -> None:
    study = build_study(material, StudyOptions(seed=5, cases=3, checks=1))
    names = {kind: {t.case for t in study.key.trials if t.kind == kind}
             for kind in ("case", "check")}  # fmt: skip
    assert len(names["case"]) == 3
    assert not names["case"] & names["check"]


def test_prompts_can_be_withheld(material: Material, ranking: Study) -> None:
    assert all("a red ball" in trial["prompt"] for trial in ranking.data["trials"])
    study = build_study(material, StudyOptions(seed=5, show_prompts=False))
    assert "a red ball" not in json.dumps(study.data)


def test_refused_numbers(material: Material) -> None:
    with pytest.raises(InputError, match="3 of 4 cases cannot come twice; give 0 to 2"):
        build_study(material, StudyOptions(seed=5, repeats=3))
    with pytest.raises(InputError, match="5 attention checks are asked for; give 0 to 4"):
        build_study(material, StudyOptions(seed=5, checks=5))
    with pytest.raises(InputError, match="no study design 'pika'; choose animatezero or"):
        build_study(material, StudyOptions(seed=5, design="pika"))


def test_what_the_researcher_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ("ball", "brief"), cases=2)
    make_run(tmp_path / "other", ("other",), cases=2, first=5, frames=3, height=32)
    material = gather([run, tmp_path / "other"])
    notes = build_study(material, StudyOptions(seed=1)).notes
    assert "'ball' stands in a prompt, the title or the instructions" in notes[0]
    assert not any("'brief'" in note for note in notes[1:])
    assert any("have not all the picture's shape" in note for note in notes)
    assert any("last differently long" in note for note in notes)
    hidden = StudyOptions(seed=1, show_prompts=False)
    assert not any("'ball'" in note for note in build_study(material, hidden).notes)
    less = replace(material, left_out=tuple(f"c{i}" for i in range(5)))
    assert build_study(less, hidden).notes[0].endswith("left out: c0, c1, c2 and 2 more")


def test_words_are_the_options(material: Material) -> None:
    study = build_study(material, StudyOptions(seed=5, words={**WORDS, "title": "Welcher Clip?"}))
    assert study.key.title == study.data["words"]["title"] == "Welcher Clip?"


def test_every_trial_is_counted(material: Material) -> None:
    ticks: list[int] = []
    build_study(material, StudyOptions(seed=5), lambda: ticks.append(1))
    assert len(ticks) == 5
