"""Hard numbers for the full-size networks: whoever makes a call dearer has to say so here.

FLOPs and operations are exact.  A change for the better fails as well: then the numbers here and in
docs/performance, which `stillmotion bench counts` writes, are to be brought up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.benchmarks.call import CountedCall, count_calls
from stillmotion.benchmarks.counting import OTHER, Counts, Tally, kind_of
from stillmotion.benchmarks.full_size import (
    ANIMATEZERO,
    BESIDE,
    CONTROLLED,
    DIFFUSERS,
    DRAW,
    LOCKSTEP,
    MODELS,
    PLAIN,
    animate_call,
    calls,
)
from stillmotion.benchmarks.full_size_parts import DECODE, NUM_FRAMES, UNFUSED
from stillmotion.benchmarks.full_size_video import FIRST_STEP, LATER_STEP, PLAIN_STEP, video_unet
from stillmotion.benchmarks.tables import as_facts, page, targets_table
from stillmotion.benchmarks.targets import verdicts
from stillmotion.errors import InputError
from stillmotion.evaluation.memory import full_size_networks
from stillmotion.kernels.choice import fused_on_meta
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
    (ANIMATEZERO, PLAIN): Cost(34_783_517_245_440, 110467, 1760.1, 846, 640, 2205),
    (ANIMATEZERO, PLAIN + UNFUSED): Cost(34_734_527_774_720, 141805, 2080.1, 1186, 640, 5074),
    (ANIMATEZERO, CONTROLLED): Cost(34_041_125_437_440, 108212, 1760.1, 908, 640, 2361),
    (ANIMATEZERO, CONTROLLED + UNFUSED): Cost(34_014_449_664_000, 152481, 2080.1, 1584, 640, 13212),
    (ANIMATEZERO, LOCKSTEP): Cost(35_550_462_115_840, 113153, 1870.6, 930, 680, 3960),
    (ANIMATEZERO, LOCKSTEP + UNFUSED): Cost(35_523_786_342_400, 161202, 2210.6, 1648, 680, 17819),
    (ANIMATEZERO, BESIDE): Cost(35_599_954_903_040, 115019, 1870.1, 1039, 680, 5528),
    (ANIMATEZERO, BESIDE + UNFUSED): Cost(35_573_279_129_600, 163067, 2210.1, 1757, 680, 19387),
    (ANIMATEZERO, DRAW): Cost(1_558_889_267_200, 5257, 110.0, 488, 40, 138),
    (ANIMATEZERO, DRAW + UNFUSED): Cost(1_558_889_267_200, 6116, 130.0, 618, 40, 226),
    (ANIMATEZERO, DECODE): Cost(2_514_518_933_504, 8048, 384.0, 140, 128, 32),
    (V256, PLAIN_STEP): Cost(9_654_932_471_808, 48373, 665.1, 1682, 256, 2910),
    (V256, FIRST_STEP): Cost(9_364_097_040_384, 34763, 478.2, 1142, 160, 630),
    (V256, FIRST_STEP + UNFUSED): Cost(9_364_097_040_384, 43691, 558.2, 1517, 160, 2779),
    (V256, LATER_STEP): Cost(9_330_052_399_104, 34590, 445.1, 1076, 160, 627),
    (V256, LATER_STEP + UNFUSED): Cost(9_330_052_399_104, 43518, 525.1, 1451, 160, 2777),
    (V256, DECODE): Cost(622_187_282_432, 2083, 96.0, 140, 32, 8),
    (V512, PLAIN_STEP): Cost(25_053_539_205_120, 116471, 1655.5, 1643, 640, 7008),
    (V512, FIRST_STEP): Cost(24_197_252_874_240, 82622, 1138.5, 1103, 400, 1563),
    (V512, FIRST_STEP + UNFUSED): Cost(24_197_252_874_240, 104942, 1338.5, 1478, 400, 6937),
    (V512, LATER_STEP): Cost(24_163_208_232_960, 82449, 1105.5, 1037, 400, 1561),
    (V512, LATER_STEP + UNFUSED): Cost(24_163_208_232_960, 104768, 1305.5, 1412, 400, 6934),
    (V512, DECODE): Cost(1_563_521_269_760, 5065, 240.0, 140, 80, 20),
    (V1024, PLAIN_STEP): Cost(104_520_278_474_752, 411560, 5947.1, 1643, 2304, 24763),
    (V1024, FIRST_STEP): Cost(100_097_013_415_936, 290011, 4000.2, 1103, 1440, 5607),
    (V1024, FIRST_STEP + UNFUSED): Cost(100_097_013_415_936, 370360, 4720.2, 1478, 1440, 24953),
    (V1024, LATER_STEP): Cost(100_062_968_774_656, 289837, 3967.1, 1037, 1440, 5604),
    (V1024, LATER_STEP + UNFUSED): Cost(100_062_968_774_656, 370187, 4687.1, 1412, 1440, 24950),
    (V1024, DECODE): Cost(5_754_304_364_544, 17990, 864.1, 140, 288, 72),
}
# Channels of the spatial attentions of both networks: two in each level of the encoder, three of
# the decoder, one between them.
LEVELS = ((320, 4096), (640, 1024), (1280, 256))
CHANNELS = [(c, n) for c, n in LEVELS for _ in range(2 + 3)] + [(1280, 64)]
# Of the motion modules: also in the lowest level, which has no spatial attention.
MOTION_CHANNELS = [c for c, _ in CHANNELS] + [1280] * (2 + 3)
SIZE = (64, 64)

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


Counted = Callable[[Savings], Tally]


@pytest.fixture(scope="module")
def latents_of_32() -> Counted:
    """What a call of AnimateZero for smaller pictures costs with some savings, counted once."""
    known: dict[Savings, Tally] = {}

    def count(savings: Savings) -> Tally:
        if savings not in known:
            with fused_on_meta():
                counts = animate_call(AnimateZeroSettings(), (32, 32), savings)
            known[savings] = counts.total
        return known[savings]

    return count


def without(saving: str) -> Savings:
    return replace(Savings(), **{saving: False})


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
    theirs = counts[DIFFUSERS].total
    for name in (PLAIN, PLAIN + UNFUSED):
        ours = counts[name].total
        assert ours.flops < theirs.flops
        assert ours.bytes_moved < theirs.bytes_moved
        assert ours.operations < theirs.operations
        assert counts[name].peak_bytes <= counts[DIFFUSERS].peak_bytes


def test_without_savings_plain_animatediff_is_diffusers(found: Found) -> None:
    stock = replace(FIG6_ROWS["a"], frame_norm="across_frames")
    ours = animate_call(stock, SIZE, Savings.none())
    assert ours.total.flops == named(found(ANIMATEZERO))[DIFFUSERS].total.flops


def test_keys_and_values_of_frame_1_are_projected_once() -> None:
    """15 of 16 frames, in both halves of guidance, save two projections in every layer."""
    plain, shared = (
        animate_call(FIG6_ROWS[row], SIZE, Savings.none()).total.flops for row in ("b", "c")
    )
    saved = sum(2 * (2 * 15) * (2 * n * c * c) for c, n in CHANNELS)
    assert plain - shared == saved == pytest.approx(0.768e12, rel=1e-3)


def test_the_window_makes_no_pool(found: Found) -> None:
    """Nor does anything else multiply the tokens of plain AnimateDiff."""
    counts = named(found(ANIMATEZERO))
    for call in (CONTROLLED, LOCKSTEP):
        rows = 17 if call == LOCKSTEP else 16
        largest = counts[DIFFUSERS].total.largest_bytes
        for name in (call, call + UNFUSED):
            assert counts[name].total.largest_bytes == largest * rows // 16 < 1.1 * largest


# The savings, one by one.


def test_the_halves_share_what_comes_before_the_first_text(latents_of_32: Counted) -> None:
    """conv_in, the first ResNet block and the first attention, which needs no text."""
    saved = latents_of_32(without("trunk")).flops - latents_of_32(Savings()).flops
    n, c, rows, keys = 32 * 32, 320, NUM_FRAMES, 32 * 32
    convolutions = 2 * n * rows * 9 * c * (4 + 2 * c)
    # In and out of the transformer's first attention, whose keys and values frame 1 gives, and the
    # query of the second.
    projections = 2 * n * c * c * (4 * rows + 2)
    attention = 4 * rows * n * keys * c
    assert saved == convolutions + projections + attention


def test_text_is_projected_once(latents_of_32: Counted) -> None:
    """For every frame and half otherwise; the first call of a clip does it for each half."""
    each = sum(2 * 2 * 77 * 768 * c for c, _ in CHANNELS)
    saved = latents_of_32(without("text")).flops - latents_of_32(Savings()).flops
    # With copies of the first query's tokens, which only this attention can do without.
    assert saved - 2 * 32 * 32 * NUM_FRAMES * 320 * 320 == 2 * NUM_FRAMES * each
    with fused_on_meta():
        first = animate_call(AnimateZeroSettings(), (32, 32), step=0).total
    positions = sum(2 * 2 * 3 * (NUM_FRAMES + 1) * c * c for c in MOTION_CHANNELS)
    assert first.flops - latents_of_32(Savings()).flops == 2 * each + positions


@pytest.mark.parametrize("saving", [field.name for field in fields(Savings)])
def test_each_saving_saves(latents_of_32: Counted, saving: str) -> None:
    """A saving that is lost shows in bytes.

    FLOPs can be a little fewer without lean motion modules, which multiply positions apart.
    """
    with_it, lost = latents_of_32(Savings()), latents_of_32(without(saving))
    assert lost.flops >= with_it.flops * (0.999 if saving == "motion" else 1)
    assert lost.bytes_moved > 1.001 * with_it.bytes_moved


def test_next_to_nothing_is_copied(found: Found) -> None:
    """Skip connections are laid side by side by diffusers, and so are the trunk's copies; frame 1
    is copied for the keys and the values of 16 layers, and the latents once.
    """
    counts = named(found(ANIMATEZERO))
    operators = counts[CONTROLLED].operators
    assert operators["clone"].bytes_moved < 160 * MIB
    assert operators["cat"].bytes_moved < 2.1 * 2**30
    assert "copy_" not in operators
    assert operators["clone"].operations <= 2 * len(CHANNELS) + 1


def test_the_row_in_lockstep_costs_less_than_a_pass_of_its_own(found: Found) -> None:
    counts = named(found(ANIMATEZERO))
    more = counts[LOCKSTEP].total.flops - counts[CONTROLLED].total.flops
    assert 0.95 < more / counts[DRAW].total.flops < 1


def test_drawing_beside_takes_fewer_operations_for_as_many_flops(found: Found) -> None:
    """Keys and values of two rows in each layer instead of one, and 131 operations, not 488."""
    counts = named(found(ANIMATEZERO))
    beside, alone = counts[BESIDE].total, counts[CONTROLLED].total
    draw = counts[DRAW].total
    assert beside.flops - alone.flops < 1.001 * draw.flops
    assert beside.operations - alone.operations < 0.3 * draw.operations


def test_contexts_are_projected_once(found: Found) -> None:
    """Keys and values of 77 text tokens and 16 x 16 image tokens in two branches."""
    counts = named(found(V512))
    saved = sum(2 * (2 * 2 * (77 + 256) * 1024 * c) for c, _ in CHANNELS)
    more = counts[FIRST_STEP].total
    less = counts[LATER_STEP].total
    assert more.flops - less.flops == saved
    # Four projections in each layer, and the branches laid behind each other.
    assert more.operations - less.operations == 4 * len(CHANNELS) + 2


def test_a_step_of_dynamicrafter_moves_a_quarter_less(found: Found) -> None:
    """With the fused kernels; FLOPs, memory and operations are fewer with or without."""
    counts = named(found(V512))
    plain, fused = counts[PLAIN_STEP], counts[LATER_STEP]
    assert fused.total.bytes_moved < 0.75 * plain.total.bytes_moved
    for lean in (fused, counts[LATER_STEP + UNFUSED]):
        assert lean.total.flops < 0.97 * plain.total.flops
        assert lean.total.bytes_moved < 0.9 * plain.total.bytes_moved
        assert lean.total.operations < 0.9 * plain.total.operations
        assert lean.total.largest_bytes < 0.7 * plain.total.largest_bytes
        assert lean.peak_bytes < 0.8 * plain.peak_bytes


def test_next_to_nothing_is_copied_in_dynamicrafter(found: Found) -> None:
    """Skip connections are laid side by side by diffusers, and so are the trunk's copies; no
    picture is divided.
    """
    operators = named(found(V512))[LATER_STEP].operators
    assert operators["clone"].bytes_moved < 10 * MIB
    assert operators["cat"].bytes_moved < 1.4 * 2**30
    assert operators["div"].bytes_moved < MIB
    assert "copy_" not in operators


def test_the_video_networks_are_of_the_published_size() -> None:
    def millions(has_gate: bool) -> float:
        return sum(p.numel() for p in video_unet(has_gate).parameters()) / 1e6

    assert millions(False) == pytest.approx(1438.9, abs=0.1)
    assert millions(True) * 1e6 - millions(False) * 1e6 == pytest.approx(16)


def test_counts_are_the_same_every_time(found: Found) -> None:
    decode = calls([ANIMATEZERO])[-1]
    assert decode.count() == named(found(ANIMATEZERO))[DECODE]
    draw = calls([ANIMATEZERO])[-2]
    assert draw.count() == named(found(ANIMATEZERO))[DRAW + UNFUSED]


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
