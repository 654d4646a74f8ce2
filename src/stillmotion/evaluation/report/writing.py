"""The files of a report: of one run, beside it; of two runs compared, wherever asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillmotion.errors import OutputError
from stillmotion.evaluation.benchmark.folder import RunFolder
from stillmotion.evaluation.report.gallery import GalleryOptions, gallery
from stillmotion.evaluation.report.html import html
from stillmotion.evaluation.report.markdown import markdown, tables
from stillmotion.evaluation.report.runs import load_pair, load_run
from stillmotion.evaluation.report.summary import Summary, as_facts, summarise
from stillmotion.runtime.files import atomic_path

SUFFIXES = (".html", ".md", ".json")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report shows."""

    reference: str | None = None
    """Name of the method that the others are compared with; None: the run's own, or its first."""
    gallery: GalleryOptions = field(default_factory=GalleryOptions)


@dataclass(frozen=True, kw_only=True)
class Written:
    """Reports that were written."""

    html_path: Path
    markdown_path: Path
    json_path: Path
    markdown: str
    """The tables."""
    facts: dict[str, Any]
    """What report.json holds."""


def write_reports(run: RunFolder, options: ReportOptions | None = None) -> Written:
    """Write report.html, report.md and report.json into a run folder, in place of older ones.

    Raises:
        InputError: the run has no finished sample, or a still of it cannot be read.
        OutputError: a file cannot be written.
    """
    chosen = options or ReportOptions()
    runs = (load_run(run.path),)
    summary = summarise(runs, chosen.reference)
    facts = as_facts(summary)
    html_path, markdown_path, json_path = (run.path / f"report{suffix}" for suffix in SUFFIXES)
    _write(html_path, html(summary, gallery(runs, summary, chosen.gallery)))
    _write(markdown_path, markdown(summary))
    _write(json_path, _json(facts))
    return Written(
        html_path=html_path, markdown_path=markdown_path, json_path=json_path,
        markdown=tables(summary), facts=facts,
    )  # fmt: skip


def compare_runs(
    first: Path,
    second: Path,
    output: Path | None = None,
    options: ReportOptions | None = None,
    *,
    anyway: bool = False,
    overwrite: bool = False,
) -> Summary:
    """Compare two runs over their shared cases, and write what the ending of `output` names.

    Raises:
        InputError: the runs cannot be compared, see `load_pair`.
        OutputError: `output` has an unknown ending, is taken, or cannot be written.
    """
    if output is not None:
        check_ending(output)
    chosen = options or ReportOptions()
    runs = load_pair(first, second, anyway=anyway)
    summary = summarise(runs, chosen.reference)
    if output is not None:
        kind = output.suffix.lower()
        if kind == ".html":
            text = html(summary, gallery(runs, summary, chosen.gallery))
        else:
            text = markdown(summary) if kind == ".md" else _json(as_facts(summary))
        _write(output, text, overwrite=overwrite)
    return summary


def check_ending(output: Path) -> None:
    """Raises OutputError if no report can have this name."""
    if output.suffix.lower() not in SUFFIXES:
        raise OutputError(f"'{output}' cannot hold a report; use one of {', '.join(SUFFIXES)}.")


def _json(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, text: str, *, overwrite: bool = True) -> None:
    with atomic_path(path, overwrite=overwrite) as temporary:
        # Not the platform's line ends: the digests in a page are of these bytes.
        temporary.write_bytes(text.encode("utf-8"))
