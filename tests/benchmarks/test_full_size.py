"""Hard numbers for the full-size networks: whoever makes a call dearer has to say so here.

FLOPs and operations are exact.  A change for the better fails as well: then the numbers here and in
docs/performance, which `stillmotion bench counts` writes, are to be brought up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.animatezero.settings import FIG6_ROWS
from stillmotion.benchmarks import full_size
from stillmotion.benchmarks.call import CountedCall, count_calls
from stillmotion.benchmarks.counting import OTHER, Counts, kind_of
from stillmotion.benchmarks.full_size import (
    ANIMATEZERO,
    CONTROLLED,
    DECODE,
    DIFFUSERS,
    DRAW,
    FIRST_STEP,
    LATER_STEP,
    LOCKSTEP,
    MODELS,
    PLAIN,
    calls,
)
from stillmotion.benchmarks.tables import as_facts, page, targets_table
from stillmotion.benchmarks.targets import verdicts
from stillmotion.errors import InputError
from stillmotion.evaluation.memory import full_size_networks
from tools.source import REPOSITORY

MIB = 2**20
DOCS = REPOSITORY / "docs" / "performance"
V256, V512, V1024 = MODELS[1:]


class Cost(NamedTuple):
    flops: int
    moved_mib: int
    peak_mib: float
    operations: int
    largest_mib: float
    """Of the largest tensor that an operator makes: 16 times as many tokens would show here."""
    copied_mib: int
    """Moved only to lie elsewhere: a needless clone in every layer would show here."""


EXPECTED = {
    (ANIMATEZERO, DIFFUSERS): Cost(35_497_823_764_480, 152254, 2081.1, 1386, 640, 7714),
    (ANIMATEZERO, PLAIN): Cost(35_497_823_764_480, 150793, 2080.1, 1365, 640, 6254),
    (ANIMATEZERO, CONTROLLED): Cost(34_753_610_383_360, 159804, 2080.1, 1861, 640, 14412),
    (ANIMATEZERO, LOCKSTEP): Cost(36_308_978_565_120, 167438, 2210.6, 1904, 680, 17633),
    (ANIMATEZERO, DRAW): Cost(1_606_546_882_560, 6614, 130.0, 734, 40, 208),
    (ANIMATEZERO, DECODE): Cost(2_514_518_933_504, 8048, 384.0, 140, 128, 32),
    (V256, FIRST_STEP): Cost(9_688_977_113_088, 48899, 666.4, 1764, 256, 2913),
    (V256, LATER_STEP): Cost(9_654_932_471_808, 48725, 665.1, 1698, 256, 2910),
    (V256, DECODE): Cost(622_187_282_432, 2083, 96.0, 140, 32, 8),
    (V512, FIRST_STEP): Cost(25_087_583_846_400, 117526, 1656.8, 1725, 640, 7010),
    (V512, LATER_STEP): Cost(25_053_539_205_120, 117352, 1655.5, 1659, 640, 7008),
    (V512, DECODE): Cost(1_563_521_269_760, 5065, 240.0, 140, 80, 20),
    (V1024, FIRST_STEP): Cost(104_554_323_116_032, 414906, 5948.4, 1725, 2304, 24766),
    (V1024, LATER_STEP): Cost(104_520_278_474_752, 414732, 5947.1, 1659, 2304, 24763),
    (V1024, DECODE): Cost(5_754_304_364_544, 17990, 864.1, 140, 288, 72),
}
# Channels of the spatial attentions of both networks: two in each level of the encoder, three of
# the decoder, one between them.
LEVELS = ((320, 4096), (640, 1024), (1280, 256))
CHANNELS = [(c, n) for c, n in LEVELS for _ in range(2 + 3)] + [(1280, 64)]

# The network of 512 and 1024 is the same, and that of 256 has gates besides.
REGULAR = [ANIMATEZERO, V512]
EVERY_MODEL = [
    model if model in REGULAR else pytest.param(model, marks=pytest.mark.slow) for model in MODELS
]

Found = Callable[[str], list[CountedCall]]


@pytest.fixture(scope="module")
def found() -> Found:
    """The counted calls of a model, counted once."""
    known: dict[str, list[CountedCall]] = {}

    def found(model: str) -> list[CountedCall]:
        if model not in known:
            known[model] = count_calls(calls([model]))
        return known[model]

    return found


def named(one: list[CountedCall]) -> dict[str, Counts]:
    return {counted.call.name: counted.counts for counted in one}


def cost(counts: Counts) -> Cost:
    total = counts.total
    return Cost(
        flops=total.flops,
        moved_mib=round(total.bytes_moved / MIB),
        peak_mib=round(counts.peak_bytes / MIB, 1),
        operations=total.operations,
        largest_mib=total.largest_bytes / MIB,
        copied_mib=round(counts.by_kind()["copy"].bytes_moved / MIB),
    )


def test_every_call_has_its_numbers() -> None:
    assert [(call.model, call.name) for call in calls()] == list(EXPECTED)


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_calls_cost_what_is_written(found: Found, model: str) -> None:
    costs = {(model, one.call.name): cost(one.counts) for one in found(model)}
    assert costs == {key: value for key, value in EXPECTED.items() if key[0] == model}


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_no_product_hides_among_other_operators(found: Found, model: str) -> None:
    """What has no kind has no FLOPs; a new operator is to be looked at, then named here."""
    others = {
        name for one in found(model) for name in one.counts.operators if kind_of(name) == OTHER
    }
    assert others <= {"arange", "gather", "scalar_tensor", "upsample_nearest2d", "zeros_like"}


def test_diffusers_agrees_with_torch(found: Found) -> None:
    unet = full_size_networks(torch.float16).unet.eval()

    def meta(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float16, device="meta")

    with torch.no_grad(), FlopCounterMode(display=False) as theirs:
        unet(meta(2, 4, 16, 64, 64), torch.tensor(0), encoder_hidden_states=meta(32, 77, 768))
    assert named(found(ANIMATEZERO))[DIFFUSERS].total.flops == theirs.get_total_flops()


def test_plain_animatediff_costs_no_more_than_diffusers(found: Found) -> None:
    counts = named(found(ANIMATEZERO))
    ours, theirs = counts[PLAIN].total, counts[DIFFUSERS].total
    assert ours.flops == theirs.flops
    assert ours.bytes_moved < theirs.bytes_moved
    assert ours.operations < theirs.operations
    assert counts[PLAIN].peak_bytes <= counts[DIFFUSERS].peak_bytes


def test_keys_and_values_of_frame_1_are_projected_once() -> None:
    """15 of 16 frames, in both halves of guidance, save two projections in every layer."""
    plain, shared = (
        full_size._animate_call(FIG6_ROWS[row], (64, 64)).total.flops for row in ("b", "c")
    )
    saved = sum(2 * (2 * 15) * (2 * n * c * c) for c, n in CHANNELS)
    assert plain - shared == saved == pytest.approx(0.768e12, rel=1e-3)


def test_the_window_makes_no_pool(found: Found) -> None:
    counts = named(found(ANIMATEZERO))
    for call in (CONTROLLED, LOCKSTEP):
        rows = 17 if call == LOCKSTEP else 16
        largest = counts[DIFFUSERS].total.largest_bytes * rows // 16
        assert counts[call].total.largest_bytes == largest


def test_the_row_in_lockstep_costs_less_than_a_pass_of_its_own(found: Found) -> None:
    counts = named(found(ANIMATEZERO))
    more = counts[LOCKSTEP].total.flops - counts[CONTROLLED].total.flops
    assert 0.95 < more / counts[DRAW].total.flops < 1


def test_contexts_are_projected_once(found: Found) -> None:
    """Keys and values of 77 text tokens and 16 x 16 image tokens in two branches."""
    counts = named(found(V512))
    saved = sum(2 * (2 * 2 * (77 + 256) * 1024 * c) for c, _ in CHANNELS)
    more = counts[FIRST_STEP].total
    less = counts[LATER_STEP].total
    assert more.flops - less.flops == saved
    # Four projections in each layer, and the branches laid behind each other.
    assert more.operations - less.operations == 4 * len(CHANNELS) + 2


def test_the_video_networks_are_of_the_published_size() -> None:
    def millions(has_gate: bool) -> float:
        return sum(p.numel() for p in full_size._video_unet(has_gate).parameters()) / 1e6

    assert millions(False) == pytest.approx(1438.9, abs=0.1)
    assert millions(True) * 1e6 - millions(False) * 1e6 == pytest.approx(16)


def test_counts_are_the_same_every_time(found: Found) -> None:
    decode = calls([ANIMATEZERO])[-1]
    assert decode.count() == named(found(ANIMATEZERO))[DECODE]
    draw = calls([ANIMATEZERO])[-2]
    assert draw.count() == named(found(ANIMATEZERO))[DRAW]


def test_models_can_be_chosen() -> None:
    assert {call.model for call in calls([V1024, V256])} == {V256, V1024}
    with pytest.raises(InputError, match=r"no model 'sdxl' to count; animatezero, dynamicrafter"):
        calls(["sdxl"])


# What the documents say.


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((DOCS / "counts.json").read_text(encoding="utf-8"))
    return facts


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_the_documents_hold_what_is_counted(
    found: Found, written: dict[str, Any], model: str
) -> None:
    facts = as_facts(found(model))
    assert facts["versions"] == written["versions"], "write docs/performance/counts.md again"
    assert facts["calls"] == [call for call in written["calls"] if call["model"] == model]
    text = (DOCS / "counts.md").read_text(encoding="utf-8")
    kinds = page(found(model)).partition("## By kind of operator\n\n")[2]
    assert kinds
    assert kinds in text


def test_the_readme_says_which_targets_hold(found: Found, written: dict[str, Any]) -> None:
    one = found(ANIMATEZERO)
    assert as_facts(one)["targets"] == written["targets"]
    table = targets_table(verdicts(one))
    for name in ("README.md", "counts.md"):
        assert table in (DOCS / name).read_text(encoding="utf-8")
