"""Seconds: the order of turns, what counts, and how noise beside is seen."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from stillmotion.benchmarks import timing
from stillmotion.benchmarks.calibration import Ceilings, calibrate
from stillmotion.benchmarks.timing import Quiet, Timing, Watch, interleaved, stopwatch

CPU = torch.device("cpu")


def test_contenders_take_turns_and_the_order_turns_round() -> None:
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    ticks: list[int] = []
    found = interleaved(runs, rounds=3, warmups=1, device=CPU, tick=lambda: ticks.append(1))
    assert "".join(order) == "cba" + "abc" + "cba" + "abc"
    assert [len(timed.seconds) for timed in found.values()] == [3, 3, 3]
    assert len(ticks) == 12


def test_warm_ups_do_not_count() -> None:
    calls: list[int] = []

    def slow_at_first() -> None:
        calls.append(1)
        time.sleep(0.2 if len(calls) == 1 else 0)

    found = interleaved({"one": slow_at_first}, rounds=3, warmups=1, device=CPU)["one"]
    assert max(found.seconds) < 0.2


def test_median_and_quartiles() -> None:
    timed = Timing(seconds=(4.0, 1.0, 2.0, 100.0, 3.0))
    assert timed.median == 3
    assert timed.quartiles == (2, 4)
    assert timed.spread == pytest.approx(2 / 3)
    assert Timing(seconds=(2.0,)).quartiles == (2, 2)


def test_the_stopwatch_tells_seconds() -> None:
    assert 0.05 <= stopwatch(lambda: time.sleep(0.05), CPU) < 1


def test_others_are_seen_and_own_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.os, "cpu_count", lambda: 2)
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    machine, own = iter([100.0, 115.0]), iter([1.0, 10.0])
    monkeypatch.setattr(timing, "_machine_seconds", lambda: next(machine))
    monkeypatch.setattr(timing, "_own_seconds", lambda: next(own))
    report = Watch().report()
    assert report.others_share == pytest.approx((15 - 9) / 20)
    assert not report.is_quiet


def test_children_are_own_work() -> None:
    before = timing._own_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert timing._own_seconds() > before


def test_what_is_not_told_is_not_held_against_it() -> None:
    assert Quiet(load_before=None, load_after=None, others_share=None).is_quiet
    assert Quiet(load_before=9.0, load_after=9.0, others_share=0.1).is_quiet


def test_ceilings_are_measured_and_shares_follow() -> None:
    found = calibrate(CPU, torch.bfloat16, size=64)
    assert found.flops_per_second.keys() == {"float32", "bfloat16"}
    assert min(*found.flops_per_second.values(), found.bytes_per_second) > 0
    known = Ceilings(flops_per_second={"float32": 100.0}, bytes_per_second=50.0)
    assert known.share_of_flops(100, 2.0, torch.float32) == 0.5
    assert known.share_of_bytes(100, 4.0) == 0.5
    other = Ceilings(flops_per_second={"float32": 80.0}, bytes_per_second=60.0)
    assert known.better_of(other) == Ceilings(
        flops_per_second={"float32": 100.0}, bytes_per_second=60.0
    )
