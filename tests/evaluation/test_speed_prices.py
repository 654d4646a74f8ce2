"""What presets cost, measured on things whose price is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.quick_miniature import quick_miniature

from stillmotion.diffusion.speed import SPEEDS
from stillmotion.evaluation import speed_prices
from stillmotion.evaluation.speed_prices import Priced

WORK = {"exact": 4, "fast": 2, "turbo": 1}
ERROR = {"exact": 0, "fast": 1, "turbo": 10}


class Known(Priced):
    """Makes grey frames with a product of known size, and a known error."""

    title = "greys"

    def __init__(self) -> None:
        self.made: list[tuple[int, str]] = []
        self.prepared: list[int] = []

    def prepare(self, index: int) -> None:
        self.prepared.append(index)

    def make(self, index: int, speed: str) -> NDArray[np.uint8]:
        self.made.append((index, speed))
        torch.ones(WORK[speed], 8) @ torch.ones(8, 8)
        return np.full((2, 4, 4, 3), 100 + ERROR[speed], np.uint8)

    def read(self, frames: Any, exact: Any, index: int) -> dict[str, Any]:
        error = float(((frames.astype(float) - exact) ** 2).mean())
        return {"psnr": 10 * math.log10(255**2 / error) if error else math.inf,
                "content": index % 2 == 0}  # fmt: skip


def test_entries_say_what_was_made() -> None:
    known, ticks = Known(), []
    entries = speed_prices.measure_prices(known, 4, lambda: ticks.append(1))
    assert len(ticks) == speed_prices.num_runs([known], 4) == 15
    assert [entry["speed"] for entry in entries] == list(SPEEDS)
    exact, fast, turbo = entries
    assert [entry["work"] for entry in entries] == [1.0, 0.5, 0.25]
    assert math.isnan(exact["psnr"])
    assert fast["psnr"] == pytest.approx(48.13, abs=0.01)
    assert turbo["psnr"] == pytest.approx(28.13, abs=0.01)
    assert exact["time"] == 1
    assert exact["time_interval"] == (1, 1)
    assert fast["time_interval"][0] <= fast["time"] <= fast["time_interval"][1]
    assert {entry["content"] for entry in entries} == {50.0}
    assert math.isnan(fast["motion"])
    assert math.isnan(fast["first_mse"])


def test_samples_take_turns() -> None:
    """Each sample is made by every preset in a row, none of them always first."""
    known = Known()
    speed_prices.measure_prices(known, 3)
    timed = known.made[len(SPEEDS) :]
    assert [index for index, _ in timed] == [0] * 3 + [1] * 3 + [2] * 3
    assert {speed for _, speed in timed[::3]} == set(SPEEDS)
    assert known.prepared == [0, 0, 0, 0, 1, 2]


def test_tables_and_facts() -> None:
    entries = speed_prices.measure_prices(Known(), 2)
    text = speed_prices.table("greys", entries)
    head, _, exact, fast, _turbo = text.splitlines()
    assert head.startswith("| greys | work | time")
    assert exact.startswith("| exact | 1.00 | 1.00 (1.00 to 1.00) | – |")
    assert fast.startswith("| fast | 0.50 |")
    page = speed_prices.document([text], 2, "By a test.")
    assert '- `exact`: "no shortcut"' in page
    assert '"reuse_every": 2' in page
    rows = speed_prices.facts("greys", entries)["rows"]
    assert rows[0]["psnr"] is None
    assert rows[1]["psnr"] == pytest.approx(48.13, abs=0.01)


def test_the_miniature_is_priced(tmp_path) -> None:
    """Stills and clips of few steps: less work, and frame 1 of clips is the still."""
    folder = quick_miniature(tmp_path / "quick", steps=4, frames=3)
    stills, clips = speed_prices.priced([str(folder)], "cpu")
    for one in (stills, clips):
        exact, fast, turbo = speed_prices.measure_prices(one, 1)
        assert 1 == exact["work"] > fast["work"] > turbo["work"]
        assert 10 < turbo["psnr"] < 60
        assert exact["seconds"] > 0
        assert exact["content"] in (0, 100)
    assert [entry["first_mse"] for entry in (exact, fast, turbo)] == [0, 0, 0]
    assert math.isfinite(turbo["movement"])
