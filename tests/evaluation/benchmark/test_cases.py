"""Cases of the world: the same everywhere, over all looks, with what a judge needs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from stillmotion.evaluation.benchmark.cases import (
    TRUTH,
    drawn_cases,
    in_order,
    rendered_cases,
    rendered_clip,
)
from stillmotion.world.vocabulary import DOMAINS


def test_more_cases_begin_with_fewer() -> None:
    assert drawn_cases(12)[:5] == drawn_cases(5)
    assert rendered_cases(12)[:5] == rendered_cases(5)


def test_all_looks_take_turns() -> None:
    assert {case.group for case in drawn_cases(5)} == set(DOMAINS)
    assert all(case.facts["look"] == case.group for case in drawn_cases(5))


def test_the_words_name_the_subject_and_the_facts_hold_the_truth() -> None:
    for case in (*drawn_cases(10), *rendered_cases(10)):
        assert set(TRUTH) <= set(case.facts)
        assert str(case.facts["subject"]).split()[-1] in case.prompt


def test_the_clip_of_a_case_is_the_same_each_time_and_moves() -> None:
    [case] = rendered_cases(1)
    clip = rendered_clip(case, 16, 64)
    assert clip.shape == (16, 64, 64, 3)
    assert (clip == rendered_clip(case, 16, 64)).all()
    assert np.abs(clip[0].astype(int) - clip[8]).mean() > 0


def test_the_first_frame_does_not_depend_on_the_length() -> None:
    [case] = rendered_cases(1)
    assert (rendered_clip(case, 16, 64)[0] == rendered_clip(case, 8, 64)[0]).all()


def test_cases_of_one_look_come_together() -> None:
    groups = [case.group for case in in_order(drawn_cases(15))]
    changes = sum(a != b for a, b in pairwise(groups))
    assert changes == len(DOMAINS) - 1
