"""The counts as a Markdown page, and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch

from stillmotion.benchmarks.call import CountedCall
from stillmotion.benchmarks.counting import Counts, Tally
from stillmotion.benchmarks.full_size_parts import DTYPE, NUM_FRAMES
from stillmotion.benchmarks.targets import Verdict, verdicts

_TERA, _GIB, _MIB = 1e12, 2**30, 2**20


def page(found: Sequence[CountedCall]) -> str:
    """All tables, under headings."""
    facts = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [
        "# Counts",
        "Written by `stillmotion bench counts`; the README.md beside it says what is counted and "
        "what follows.",
        f"{str(DTYPE).removeprefix('torch.')}; {NUM_FRAMES} frames; all branches of guidance "
        f"together; {facts}.",
        "## Totals",
        _totals(found),
    ]
    judged = verdicts(found)
    if judged:
        parts += ["## Targets", targets_table(judged)]
    parts.append("## By kind of operator")
    for one in found:
        parts += [f"### {one.call.model}: {one.call.title}", _kinds(one.counts)]
    return "\n\n".join(parts)


def as_facts(found: Sequence[CountedCall]) -> dict[str, Any]:
    """Everything for JSON: FLOPs and bytes as whole numbers."""
    return {
        "versions": versions(),
        "dtype": str(DTYPE).removeprefix("torch."),
        "num_frames": NUM_FRAMES,
        "calls": [_call_facts(one, _baseline(one, found)) for one in found],
        "targets": [
            {
                "call": verdict.target.call,
                "quantity": verdict.target.quantity,
                "limit": verdict.target.limit,
                "found": round(verdict.found, 4),
                "holds": verdict.holds,
            }
            for verdict in verdicts(found)
        ],
    }


def versions() -> dict[str, str]:
    """Of the libraries that decide which operators there are, without names of builds."""
    return {
        "torch": str(torch.__version__).partition("+")[0],
        "diffusers": str(diffusers.__version__),
    }


def _totals(found: Sequence[CountedCall]) -> str:
    rows = [
        "| model | call | TFLOP | GiB moved | peak GiB | operations | FLOPs, bytes, operations "
        "to the model's first |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in found:
        total = one.counts.total
        baseline = _baseline(one, found)
        ratios = "–" if baseline is None else ", ".join(
            f"{ratio:.3f}" for ratio in _ratios(total, baseline).values()
        )  # fmt: skip
        rows.append(
            f"| {one.call.model} | {one.call.title} | {total.flops / _TERA:.3f} | "
            f"{total.bytes_moved / _GIB:.2f} | {one.counts.peak_bytes / _GIB:.3f} | "
            f"{total.operations} | {ratios} |"
        )
    return "\n".join(rows)


def targets_table(judged: Sequence[Verdict]) -> str:
    """What was found beside what should be."""
    rows = ["| call | what | at most | found | holds |", "| --- | --- | ---: | ---: | --- |"]
    for verdict in judged:
        target = verdict.target
        rows.append(
            f"| {verdict.title} | {target.quantity} | {target.limit:g} | {verdict.found:.3f} | "
            f"{'yes' if verdict.holds else 'no'} |"
        )
    return "\n".join(rows)


def _kinds(counts: Counts) -> str:
    moved = counts.total.bytes_moved
    rows = [
        "| kind | operations | TFLOP | GiB moved | of all bytes | largest tensor, MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, tally in counts.by_kind().items():
        flops = f"{tally.flops / _TERA:.3f}" if tally.flops else "–"
        rows.append(
            f"| {kind} | {tally.operations} | {flops} | {tally.bytes_moved / _GIB:.2f} | "
            f"{tally.bytes_moved / moved:.1%} | {tally.largest_bytes / _MIB:.1f} |"
        )
    return "\n".join(rows)


def _baseline(one: CountedCall, found: Sequence[CountedCall]) -> Tally | None:
    """What `one` is compared with, if there is anything and it was counted."""
    for other in found:
        if other.call.model == one.call.model and other.call.name == one.call.compared_with:
            return other.counts.total
    return None


def _ratios(total: Tally, baseline: Tally) -> dict[str, float]:
    return {
        "flops": total.flops / baseline.flops,
        "bytes_moved": total.bytes_moved / baseline.bytes_moved,
        "operations": total.operations / baseline.operations,
    }


def _call_facts(one: CountedCall, baseline: Tally | None) -> dict[str, Any]:
    counts, total = one.counts, one.counts.total
    ratios = {} if baseline is None else _ratios(total, baseline)
    return {
        "model": one.call.model,
        "call": one.call.name,
        "title": one.call.title,
        **_tally_facts(total),
        "peak_bytes": counts.peak_bytes,
        "compared_with": one.call.compared_with,
        "ratios": {name: round(ratio, 4) for name, ratio in ratios.items()},
        "kinds": {kind: _tally_facts(tally) for kind, tally in counts.by_kind().items()},
        "operators": {name: _tally_facts(tally) for name, tally in counts.operators.items()},
    }


def _tally_facts(tally: Tally) -> dict[str, int]:
    return {
        "operations": tally.operations,
        "flops": tally.flops,
        "bytes_moved": tally.bytes_moved,
        "largest_bytes": tally.largest_bytes,
    }
