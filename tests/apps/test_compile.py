"""`--compile`: how the network is compiled, said beside the device and no part of the job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch._dynamo
from tests.apps.conftest import HILLS, Run

from stillmotion.runtime import compiling
from stillmotion.runtime.compiling import Compiling


@pytest.mark.parametrize(
    "command",
    [("draw", HILLS, "-o", "a.png"), ("animate", "a.png", "-o", "a.webp")],
    ids=["draw", "animate"],
)
def test_another_word_is_refused(run: Run, here: Path, command: tuple[str, ...]) -> None:
    (here / "a.png").touch()
    done = run(*command, "--compile", "fast", "--force", "-q")
    assert done.error == (
        "--compile is 'fast'; it can be off, auto, default, reduce-overhead, max-autotune."
    )


@pytest.mark.slow
def test_stills_are_drawn_by_compiled_blocks(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one by what was compiled for the first; the record says nothing of it."""

    def without_inductor(device: torch.device, num_positions: int) -> Compiling:
        return Compiling(backend="eager")

    monkeypatch.setattr(compiling, "compiling_for", without_inductor)
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    common = ("--steps", "1", "--seed", "3", "-q")
    assert run("draw", HILLS, "-o", "one.png", "--compile", "auto", *common).code == 0
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    counters.clear()
    torch._dynamo.reset()
    assert (
        run("draw", HILLS, "-o", "two.png", "--count", "2", "--compile", "auto", *common).code == 0
    )
    assert counters["stats"]["unique_graphs"] == graphs
    assert run("draw", HILLS, "-o", "plain.png", *common).code == 0
    records = [json.loads((here / f"{name}.png.json").read_text()) for name in ("one", "plain")]
    assert records[0] == records[1]
