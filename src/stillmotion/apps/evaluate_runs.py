"""What the benchmarks of `stillmotion evaluate` have in common: what is asked for, and a run."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stillmotion.errors import InputError

if TYPE_CHECKING:
    from stillmotion.evaluation.benchmark.making import Plan
    from stillmotion.evaluation.benchmark.plans import Ask
    from stillmotion.evaluation.benchmark.real_clips import ChosenClips


def real_clips(
    folder: Path, layout: str, prompts: Path | None, samples: int | None, *, quiet: bool
) -> ChosenClips:
    """The real clips that take part; says which were passed over."""
    from stillmotion.apps.console import Notes
    from stillmotion.evaluation.benchmark.real_clips import (
        NUM_CLIPS,
        choose_clips,
        find_real_clips,
    )
    from stillmotion.runtime.progress import Progress

    found = find_real_clips(folder, layout, prompts)  # type: ignore[arg-type]
    count = min(samples or NUM_CLIPS, len(found.clips))
    with Progress("look at clips", total=count, quiet=quiet) as progress:
        chosen = choose_clips(found, count, tick=progress.advance)
    notes = Notes()
    notes(f"{len(chosen.cases)} clips, laid out as {found.layout}")
    if chosen.skipped:
        notes(f"{len(chosen.skipped)} clips passed over, the first: {chosen.skipped[0]}")
    return chosen


def make_and_report(plan: Plan, *, as_json: bool, quiet: bool) -> None:
    """Make what is missing, write the reports and show the table."""
    from stillmotion.apps.console import resumable, show
    from stillmotion.evaluation.benchmark.making import make_run, num_parts
    from stillmotion.evaluation.report.writing import write_reports
    from stillmotion.runtime.progress import Progress

    name = f"evaluate {plan.manifest.protocol}"
    with resumable(), Progress(name, total=num_parts(plan), quiet=quiet) as progress:
        make_run(plan, progress.advance)
    written = write_reports(plan.run)
    show(f"{written.markdown}\n\n{written.html_path}", written.facts, as_json=as_json)


def ask(
    context: typer.Context, methods: list[str] | None, weights: list[str] | None,
    extractor: list[str] | None, score_as: str, output: Path, device: str,
    processes: int | None,
) -> Ask:  # fmt: skip
    """What the options of a benchmark ask for.

    Raises InputError for an unknown device, part, extractor or way to score, or weights without
    a path.
    """
    from stillmotion.evaluation.benchmark.plans import Ask
    from stillmotion.evaluation.extractors.choice import ExtractorChoice
    from stillmotion.runtime.system import choose_device

    suffixes = {"lossless": ".webp", "mp4": ".mp4"}
    if score_as not in suffixes:
        raise InputError(f"--score-as is lossless or mp4, not '{score_as}'")
    return Ask(
        folder=output, command=_command(context), choice=ExtractorChoice.parse(extractor or []),
        methods=tuple(methods or ()), weights=_pairs("--weights", weights or []),
        device=str(choose_device(device)), processes=processes or os.cpu_count() or 1,
        suffix=suffixes[score_as],
    )  # fmt: skip


def _command(context: typer.Context) -> str:
    """The command line, as it was given to `cli.main`."""
    return shlex.join([context.find_root().info_name or "stillmotion", *context.obj])


def _pairs(option: str, texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not (name and mark and value):
            raise InputError(f"{option} takes NAME=PATH, not '{text}'")
        found[name] = value
    return found


def named_folders(texts: list[str]) -> dict[str, Path]:
    """Folders of clips by the name of their method: of DIR, or NAME=DIR.

    Raises InputError for a name given twice.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, mark, folder = text.partition("=")
        if not mark or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        if name in found:
            raise InputError(f"two folders are called '{name}'; name them, NAME=DIR")
        found[name] = Path(folder)
    return found
