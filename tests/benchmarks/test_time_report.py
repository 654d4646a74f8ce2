"""The report of a measurement: tables, targets, facts and plots, on numbers made up for it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from tests.benchmarks.tiny_stages import RULES, arena

from stillmotion.benchmarks.attention_contenders import attention_contenders
from stillmotion.benchmarks.calibration import Ceilings
from stillmotion.benchmarks.clip_contenders import DIFFUSERS, LITERAL, OURS, clip_contenders
from stillmotion.benchmarks.command_contenders import command_contenders
from stillmotion.benchmarks.contenders import Arena, Contender, Made, Prepared
from stillmotion.benchmarks.contest import Memory, Outcome, Results
from stillmotion.benchmarks.counting import Counts, Tally
from stillmotion.benchmarks.machine import Machine
from stillmotion.benchmarks.parity import Likeness, Parity
from stillmotion.benchmarks.time_report import TimeReport, measure, total_ticks
from stillmotion.benchmarks.time_tables import as_facts, time_page, time_plots
from stillmotion.benchmarks.time_targets import TARGETS, TimeVerdict, time_verdicts
from stillmotion.benchmarks.timing import Quiet, Timing

GIB = 2**30
MACHINE = Machine(
    processor="a processor", cores=2, threads=1, device="cpu", versions={"torch": "2.13.0"}
)
QUIET = Quiet(load_before=0.1, load_after=1.0, others_share=0.02)
CEILINGS = Ceilings(flops_per_second={"float32": 100e9}, bytes_per_second=10e9)


def timed(contender: Contender, seconds: float, **more: Any) -> Outcome:
    spread = Timing(seconds=(seconds, 0.9 * seconds, 1.1 * seconds))
    counts = Counts(
        operators={"mm": Tally(operations=1, flops=round(50e9), bytes_moved=round(1e9))},
        peak_bytes=0,
    )
    memory = Memory(weights=4 * GIB, made=GIB)
    given: dict[str, Any] = {"first_seconds": 9.0, "counts": counts, "memory": memory, **more}
    return Outcome(contender=contender, timing=spread, **given)


def results_of(
    contenders: tuple[Contender, ...], seconds: dict[str, float], **changes: Any
) -> Results:
    outcomes = []
    for one in contenders:
        if one.name in seconds:
            outcomes.append(timed(one, seconds[one.name]))
        else:
            outcomes.append(Outcome(contender=one, status="failed", why="RuntimeError: no"))
    held = replace(arena(lambda dtype: None, contenders, num_steps=25), **changes)
    return Results(arena=held, outcomes=tuple(outcomes))


CLIPS = results_of(
    clip_contenders(compiles=True), {DIFFUSERS: 2.0, LITERAL: 4.0, OURS: 1.6}, name="clips"
)
ATTENTION = results_of(attention_contenders(), {"pool": 3.0, "ours": 1.0}, name="attention")
COMMANDS = results_of(command_contenders(miniature=True), {"help": 0.3}, name="commands")


def report(*results: Results, **changes: Any) -> TimeReport:
    given: dict[str, Any] = {
        "model": "miniature",
        "rules": RULES,
        "machine": MACHINE,
        "quiet": QUIET,
        "ceilings": CEILINGS,
        "results": results or (CLIPS, ATTENTION, COMMANDS),
    }
    return TimeReport(**{**given, **changes})


def verdict(of: TimeReport, words: str) -> TimeVerdict:
    [found] = [one for one in time_verdicts(of) if words in one.target.what]
    return found


def test_targets_hold_fall_short_or_say_how_they_are_measured() -> None:
    found = report()
    ratio = verdict(found, "to diffusers' eager")
    assert (ratio.found, ratio.holds) == (0.8, True)
    attention = verdict(found, "literal pool")
    assert (attention.found, attention.holds) == (3.0, False)
    assert verdict(found, "stillmotion --help").holds
    shell = verdict(found, "from the shell")
    assert (shell.found, shell.holds) == (None, None)
    assert shell.why == "it was left out, or could not be timed"
    gpu = verdict(found, "DynamiCrafter 512")
    assert gpu.why == "needs a GPU"
    assert gpu.command == (
        "stillmotion bench time --model full-size --only dynamicrafter-512 --device cuda"
    )


def test_a_gpu_at_full_size_answers_the_others() -> None:
    rules = replace(RULES, device=torch.device("cuda"), dtype=torch.bfloat16)
    found = report(model="full-size", rules=rules)
    clip = verdict(found, "25 steps, everything included")
    assert (clip.found, clip.holds) == (1.6, True)
    literal = verdict(found, "literal form")
    assert (literal.found, literal.holds) == (2.5, True)
    memory = verdict(found, "both halves")
    assert (memory.found, memory.holds) == (5.0, True)
    assert verdict(found, "literal pool").why == "is measured on a CPU"
    assert verdict(found, "from the shell").why == "is measured with the model miniature"


def test_other_numbers_of_steps_answer_nothing() -> None:
    rules = replace(RULES, device=torch.device("cuda"), dtype=torch.bfloat16)
    short = replace(CLIPS, arena=replace(CLIPS.arena, num_steps=4))
    found = verdict(report(short, model="full-size", rules=rules), "25 steps, everything")
    assert (found.found, found.why) == (None, "is measured with 25 steps")


def test_every_target_names_groups_that_exist() -> None:
    from stillmotion.benchmarks.arenas import GROUPS

    for target in TARGETS:
        for model in target.models:
            assert set(target.groups) <= set(GROUPS[model]), target.what


def test_the_page_shows_everything() -> None:
    text = time_page(report(), {"clips": "time-clips.svg"})
    assert "a processor, 2 cores, 1 threads; torch 2.13.0. float32; 2 rounds" in text
    assert "The machine was quiet: other programs used 2% of the CPU time" in text
    assert "a matrix product 0.1 TFLOP/s in float32; a copy 10 GB/s" in text
    assert "![seconds of each contender](time-clips.svg)" in text
    row = "| AnimateZero by this package | exact | 1.6 | 1.52–1.68 | 2.50 x | 9 | 5120 |"
    # 50 GFLOP and 1 GB in 1.6 s, of 100 GFLOP/s and 10 GB/s.
    assert f"{row} 31.2% | 6.2% |" in text
    assert "* diffusers, compiled: not timed (failed): RuntimeError: no." in text
    assert "| stillmotion --help | ≤ 0.4 s | 0.3 | holds |" in text


def test_a_busy_machine_is_said() -> None:
    text = time_page(report(quiet=replace(QUIET, others_share=0.4)))
    assert "**The machine was not quiet**: other programs used 40% of the CPU time" in text


def test_parity_and_price_are_said() -> None:
    exact, near = (
        timed(one, 1.0)
        for one in clip_contenders(compiles=False)
        if one.name in (OURS, "ours-fast")
    )
    exact.parity = Parity(against=LITERAL, max_error=2e-6, mean_error=3e-7)
    near.likeness = Likeness(against=OURS, psnr=33.44, first_frame_error=0.0)
    held = Results(arena=CLIPS.arena, outcomes=(exact, near))
    text = time_page(report(held))
    assert "differ from those of `literal` by at most 2.0e-06, on average 3.0e-07" in text
    assert "approximate; PSNR to `ours` 33.4 dB, mean squared error of frame 1 0." in text


def test_facts_are_json_without_infinities() -> None:
    one = timed(clip_contenders(compiles=False)[0], 1.0)
    one.likeness = Likeness(against=OURS, psnr=math.inf, first_frame_error=0.0)
    held = Results(arena=CLIPS.arena, outcomes=(one,))
    facts = json.loads(json.dumps(as_facts(report(held)), allow_nan=False))
    contender = facts["arenas"][0]["contenders"][0]
    assert contender["likeness"]["psnr"] is None
    assert contender["seconds"] == [1.0, 0.9, 1.1]
    assert contender["share_of_flops"] == 0.5
    assert contender["memory"]["total"] == 5 * GIB
    assert {target["holds"] for target in facts["targets"]} <= {True, False, None}


def test_plots_are_of_what_was_timed() -> None:
    plots = time_plots(report())
    assert plots.keys() == {"clips", "attention", "commands"}
    for picture in plots.values():
        ElementTree.fromstring(picture)
    assert "AnimateZero by the letter" in plots["clips"]
    nothing = results_of(attention_contenders(), {}, name="attention")
    assert time_plots(report(nothing)) == {}


def test_a_measurement_holds_every_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stillmotion.benchmarks.time_report.calibrate", lambda device, dtype: CEILINGS
    )
    one = Contender(
        name="a", title="a", group="g", label="other",
        prepare=lambda stage: Prepared(run=lambda n: Made(latents=torch.zeros(1))),
    )  # fmt: skip
    pair = (one, replace(one, name="b"))
    two: list[Arena] = [arena(lambda dtype: None, each) for each in ((one,), pair)]
    ticks: list[int] = []
    found = measure("miniature", two, RULES, lambda: ticks.append(1))
    assert len(ticks) == total_ticks(two, RULES)
    assert [len(results.outcomes) for results in found.results] == [1, 2]
    assert found.machine.cores >= 1
