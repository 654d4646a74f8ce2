"""Orders: the same in Python and JavaScript, different for each rater, fair over many."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillmotion.evaluation.study.page import PARTS
from stillmotion.evaluation.study.stream import Shuffling, Stream, fnv1a


def shuffling(trials: int, clips: int, repeats: int, repeatable: int | None = None) -> Shuffling:
    names = {f"{trial:04x}": [f"{trial:02x}{clip:02x}c" for clip in range(clips)]
             for trial in range(trials)}  # fmt: skip
    return Shuffling("abc", names, list(names)[:repeatable], repeats)


def test_published_hashes() -> None:
    # From the tables of Fowler, Noll and Vo.
    assert [fnv1a(text) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_numbers_follow_the_recurrence() -> None:
    stream = Stream("text")
    x, y, z, w = (stream.next() for _ in range(4))
    t = (x ^ x << 11) & 0xFFFFFFFF
    assert stream.next() == w ^ w >> 19 ^ t ^ t >> 8
    assert len({x, y, z, w}) == 4


def test_numbers_below_a_bound_are_even() -> None:
    stream = Stream("even")
    counts = Counter(stream.below(5) for _ in range(10_000))
    assert set(counts) == set(range(5))
    assert sum((count - 2000) ** 2 / 2000 for count in counts.values()) < 18.5  # chi2, p = 0.001


@given(trials=st.integers(2, 12), clips=st.integers(2, 6), half=st.floats(0, 1), rater=st.text())
def test_steps(trials: int, clips: int, half: float, rater: str) -> None:
    repeats = int(half * (trials // 2))
    plan = shuffling(trials, clips, repeats)
    steps = plan.steps(rater)
    shown = Counter(step.trial for step in steps)
    assert set(shown) == set(plan.trials)
    assert sorted(shown.values()) == [1] * (trials - repeats) + [2] * repeats
    assert all(one.trial != other.trial for one, other in pairwise(steps))
    seen: Counter[str] = Counter()
    for step in steps:
        seen[step.trial] += 1
        assert step.showing == seen[step.trial]
        assert sorted(step.order) == plan.trials[step.trial]


def test_only_the_repeatable_come_twice() -> None:
    plan = shuffling(8, 3, repeats=2, repeatable=3)
    twice = {step.trial for i in range(50) for step in plan.steps(f"r{i}") if step.showing == 2}
    assert twice == set(plan.repeatable)


def test_raters_see_different_orders_and_the_same_rater_the_same() -> None:
    plan = shuffling(6, 4, repeats=1)
    assert plan.steps("anna") == plan.steps("anna")
    assert len({tuple(plan.steps(f"anna{i}")) for i in range(50)}) == 50


def test_each_clip_is_at_each_place_about_equally_often() -> None:
    plan = shuffling(3, 4, repeats=0)
    raters = 600
    places = Counter(
        (place, clip)
        for number in range(raters)
        for step in plan.steps(f"rater-{number}")
        for place, clip in enumerate(step.order)
    )
    expected = raters / 4
    for clips in plan.trials.values():
        chi2 = sum((places[place, clip] - expected) ** 2 / expected
                   for place in range(4) for clip in clips)  # fmt: skip
        assert chi2 < 27.9  # 9 degrees of freedom, p = 0.001
    first = Counter(plan.steps(f"rater-{number}")[0].trial for number in range(raters))
    assert all(abs(count - raters / 3) < 50 for count in first.values())


def test_the_page_shuffles_alike() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node; tests/browser compares the orders as well")
    plan = shuffling(9, 5, repeats=3, repeatable=6)
    raters = ["anna", "Zoë 張", "", "x" * 60]
    study = {
        "shuffle": plan.shuffle, "repeatable": list(plan.repeatable), "repeats": plan.repeats,
        "trials": [{"id": trial, "clips": [{"id": clip} for clip in clips]}
                   for trial, clips in plan.trials.items()],
    }  # fmt: skip
    program = (
        (PARTS / "stream.js").read_text(encoding="utf-8")
        + f"\nconst study = {json.dumps(study)};"
        + f"\nconsole.log(JSON.stringify({json.dumps(raters)}.map((r) => stepsFor(study, r))));"
    )
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    expected = [
        [{"trial": s.trial, "showing": s.showing, "order": list(s.order)} for s in plan.steps(r)]
        for r in raters
    ]
    assert json.loads(done.stdout) == expected
