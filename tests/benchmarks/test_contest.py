"""Parity comes first: who makes something else, or nothing, is told and never timed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.benchmarks.tiny_stages import RULES, arena
from torch import Tensor

from stillmotion.benchmarks.contenders import Contender, Made, Prepared
from stillmotion.benchmarks.contest import Results, hold, num_ticks
from stillmotion.benchmarks.parity import TOLERANCE, Likeness, likeness, parity


def ramp() -> Tensor:
    return torch.linspace(-1, 1, 100)


def contender(name: str, make: Callable[[], Made], **options: Any) -> Contender:
    given: dict[str, Any] = {"group": "g", "label": "exact", "against": "truth", **options}
    return Contender(
        name=name, title=f"the {name}", prepare=lambda stage: Prepared(run=lambda n: make()),
        **given,
    )  # fmt: skip


def made(shift: float = 0.0) -> Callable[[], Made]:
    def make() -> Made:
        x = ramp() + shift
        return Made(latents=x, frames=(x.reshape(4, 5, 5, 1).abs() * 200).numpy().astype(np.uint8))

    return make


TRUTH = contender("truth", made(), label="reference", against=None)


def held(*others: Contender, rules: Any = RULES, stage: Any = None) -> Results:
    return hold(arena(lambda dtype: stage, (TRUTH, *others)), rules)


def test_rounding_passes_and_differences_are_never_timed() -> None:
    results = held(contender("rounded", made(1e-6)), contender("other", made(0.1)))
    rounded, other = results.outcomes[1:]
    assert rounded.status == "timed"
    assert rounded.parity is not None
    assert rounded.parity.max_error == pytest.approx(1e-6 / float(ramp().std()), rel=0.1)
    assert other.status == "differs"
    assert other.timing is None
    assert f"{TOLERANCE:g} is allowed" in other.why
    assert results.median("other") is None
    assert results.median("rounded") is not None


def test_other_shapes_and_numbers_that_are_none_differ() -> None:
    truth = Made(latents=ramp())
    assert not parity(Made(latents=ramp()[:50]), truth, "truth").holds
    nan = ramp()
    nan[3] = math.nan
    assert not parity(Made(latents=nan), truth, "truth").holds
    found = held(contender("nan", lambda: Made(latents=nan))).outcomes[1]
    assert (found.status, found.why) == ("failed", "made numbers that are not finite")


def test_what_fails_or_is_missing_is_told_and_the_others_go_on() -> None:
    def broken() -> Made:
        raise RuntimeError("no kernel\nfor this")

    results = held(
        contender("broken", broken),
        contender("gpu", made(), needs_gpu=True),
        contender("absent", made(), missing="is not installed"),
        contender("fine", made()),
    )
    told = {one.contender.name: (one.status, one.why) for one in results.outcomes}
    assert told == {
        "truth": ("timed", ""),
        "broken": ("failed", "RuntimeError: no kernel"),
        "gpu": ("missing", "needs a CUDA device"),
        "absent": ("missing", "is not installed"),
        "fine": ("timed", ""),
    }


def test_without_its_reference_nobody_is_timed() -> None:
    orphan = contender("orphan", made(), against="nobody")
    assert held(orphan).outcomes[1].status == "differs"


def test_approximations_are_not_held_to_parity_but_their_frames_are_compared() -> None:
    results = held(contender("near", made(0.01), label="approximate", is_counted=False))
    found = results.outcomes[1]
    assert found.status == "timed"
    assert found.parity is None
    assert isinstance(found.likeness, Likeness)
    assert 20 < found.likeness.psnr < 60


def test_likeness_of_equal_frames_is_infinite() -> None:
    one = made()()
    assert likeness(one, one, "truth") == Likeness(
        against="truth", psnr=math.inf, first_frame_error=0.0
    )
    assert likeness(Made(latents=ramp()), one, "truth") is None


def test_psnr_by_hand() -> None:
    frames = np.zeros((2, 1, 1, 3), np.uint8)
    other = frames.copy()
    other[1] = 51  # a fifth of 255 in half of all values
    found = likeness(
        Made(latents=ramp(), frames=other), Made(latents=ramp(), frames=frames), "truth"
    )
    assert found is not None
    assert found.psnr == pytest.approx(-10 * math.log10(0.04 / 2))
    assert found.first_frame_error == 0


def test_another_precision_is_examined_in_float32_and_timed_in_its_own() -> None:
    seen: list[tuple[str, torch.dtype]] = []

    def prepare(name: str) -> Callable[[Any], Prepared]:
        def ready(stage: torch.dtype) -> Prepared:
            def run(num_steps: int) -> Made:
                seen.append((name, stage))
                return Made(latents=ramp().to(stage))

            return Prepared(run=run)

        return ready

    one = Contender(name="a", title="a", group="g", label="reference", prepare=prepare("a"))
    rules = RULES.__class__(device=RULES.device, dtype=torch.bfloat16, rounds=2, warmups=1)
    ticks: list[int] = []
    one_arena = arena(lambda dtype: dtype, (one,))
    hold(one_arena, rules, lambda: ticks.append(1))
    # An exam, a first call and a look inside, a warm-up, and two rounds.
    assert [dtype for _, dtype in seen] == [torch.float32, *[torch.bfloat16] * 5]
    assert len(ticks) == num_ticks(one_arena, rules)


def test_counts_and_memory_are_of_a_whole_run() -> None:
    def make() -> Made:
        return Made(latents=ramp() + 1)

    found = held(contender("adds", make, label="other")).outcomes[1]
    assert found.counts is not None
    assert found.counts.operators["add"].operations == 1
    assert found.memory is not None
    assert found.memory.made >= 400


def test_a_compiled_one_is_counted_as_whom_it_is_held_against() -> None:
    results = held(contender("compiled", made(), is_counted=False))
    assert results.outcomes[1].counts is None
    assert results.counts_for(results.outcomes[1]) is results.outcomes[0].counts


def test_shared_weights_count_once() -> None:
    layer = torch.nn.Linear(3, 2)
    pair = Prepared(run=lambda n: made()(), networks=(layer, torch.nn.Sequential(layer)))
    assert pair.weight_bytes == 4 * (6 + 2)


def test_an_arena_keeps_who_others_are_held_against() -> None:
    whole = arena(
        lambda dtype: None,
        (TRUTH, contender("a", made(), group="x"), contender("b", made(), group="y")),
    )
    kept = whole.only(["x"])
    assert kept is not None
    assert [one.name for one in kept.contenders] == ["truth", "a"]
    assert whole.only(["z"]) is None
