"""Targets, and the tables, on counts made up for the purpose."""

from __future__ import annotations

import json

import pytest

from stillmotion.benchmarks.call import Call, CountedCall, count_calls
from stillmotion.benchmarks.counting import Counts, Tally
from stillmotion.benchmarks.full_size import (
    ANIMATEZERO,
    BESIDE,
    CONTROLLED,
    DIFFUSERS,
    LOCKSTEP,
    PLAIN,
)
from stillmotion.benchmarks.tables import as_facts, page, targets_table
from stillmotion.benchmarks.targets import verdicts

GIB = 2**30


def made_up(name: str, tflop: float, gib: float, model: str = ANIMATEZERO) -> CountedCall:
    operators = {
        "add": Tally(operations=3, bytes_moved=round(gib * GIB / 4), largest_bytes=2**20),
        "mm": Tally(
            operations=1, flops=round(tflop * 1e12), bytes_moved=round(gib * GIB * 3 / 4),
            largest_bytes=2**21,
        ),
    }  # fmt: skip
    counts = Counts(operators=operators, peak_bytes=GIB // 2)
    baseline = DIFFUSERS if name != DIFFUSERS and model == ANIMATEZERO else None
    call = Call(
        model=model, name=name, title=f"call {name}", count=lambda: counts, compared_with=baseline
    )
    return CountedCall(call=call, counts=counts)


FOUND = [
    made_up(DIFFUSERS, 35.5, 100),
    made_up(PLAIN, 35.5, 75),
    made_up(CONTROLLED, 34.2, 76),
    made_up(LOCKSTEP, 35.0, 50),
    made_up(BESIDE, 35.6, 74),
]


def test_targets_are_judged() -> None:
    judged = {(v.target.call, v.target.quantity): (v.found, v.holds) for v in verdicts(FOUND)}
    assert judged == {
        (PLAIN, "TFLOP"): (35.5, True),
        (CONTROLLED, "TFLOP"): (34.2, False),
        (LOCKSTEP, "TFLOP"): (35.0, True),
        (BESIDE, "TFLOP"): (35.6, True),
        (PLAIN, "bytes, of diffusers'"): (0.75, True),
        (CONTROLLED, "bytes, of diffusers'"): (0.76, False),
        (LOCKSTEP, "bytes, of diffusers'"): (0.5, True),
        (BESIDE, "bytes, of diffusers'"): (0.74, True),
    }


def test_without_the_baseline_nothing_is_judged() -> None:
    assert verdicts(FOUND[1:]) == []
    assert verdicts([made_up(DIFFUSERS, 1, 1, model="dynamicrafter-512")]) == []
    assert "## Targets" not in page(FOUND[1:])
    assert "| 35.000 | 50.00 | 0.500 | 4 | – |" in page(FOUND[1:])


def test_the_page_shows_totals_targets_and_kinds() -> None:
    text = page(FOUND)
    assert (
        "| animatezero | call animatezero | 34.200 | 76.00 | 0.500 | 4 | 0.963, 0.760, 1.000 |"
    ) in text
    assert "| call animatezero | TFLOP | 34.1 | 34.200 | no |" in text
    assert targets_table(verdicts(FOUND)) in text
    assert "### animatezero: call lockstep" in text
    assert "| matrix product | 1 | 35.000 | 37.50 | 75.0% | 2.0 |" in text
    assert "| arithmetic | 3 | – | 12.50 | 25.0% | 1.0 |" in text


def test_facts_are_whole_numbers() -> None:
    facts = json.loads(json.dumps(as_facts(FOUND)))
    assert facts["versions"].keys() == {"torch", "diffusers"}
    plain = facts["calls"][1]
    assert plain["flops"] == 35_500_000_000_000
    assert plain["bytes_moved"] == 75 * GIB
    assert plain["operations"] == 4
    assert plain["ratios"] == {"flops": 1.0, "bytes_moved": 0.75, "operations": 1.0}
    assert plain["operators"]["mm"]["flops"] == plain["kinds"]["matrix product"]["flops"]
    assert facts["calls"][0]["ratios"] == {}
    assert [target["holds"] for target in facts["targets"]].count(False) == 2


@pytest.mark.parametrize("ticks", [0, 3])
def test_progress_is_told_call_by_call(ticks: int) -> None:
    told: list[int] = []
    wanted = [one.call for one in FOUND[:ticks]]
    assert count_calls(wanted, lambda: told.append(1)) == FOUND[:ticks]
    assert len(told) == ticks
