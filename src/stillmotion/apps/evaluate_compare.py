"""`stillmotion evaluate report` and `stillmotion evaluate compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import FLAG, Force, Json

if TYPE_CHECKING:
    from stillmotion.evaluation.report.writing import ReportOptions

app = typer.Typer()

Reference = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The method that all others are compared with.",
        show_default="the first of the run; of two runs, methods of one name are compared",
    ),
]
Cases = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, help="At most so many cases in the gallery; tables are of all."
    ),
]
Width = Annotated[
    int,
    typer.Option(metavar="PX", min=16, max=2048, help="Wider clips are made smaller for it."),
]


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    reference: Reference = None,
    cases: Cases = 12,
    width: Width = 256,
    as_json: Json = False,
) -> None:
    """Write the reports of a run again: report.html, report.md and report.json in its folder."""
    from stillmotion.apps.console import show
    from stillmotion.evaluation.benchmark.folder import RunFolder
    from stillmotion.evaluation.report.writing import write_reports

    written = write_reports(RunFolder(run), _options(reference, cases, width))
    paths = (written.html_path, written.markdown_path, written.json_path)
    text = "\n".join([written.markdown, "", *map(str, paths)])
    show(text, written.facts, as_json=as_json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, with cases of A's names.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="NAME.html",
            help="Also write the comparison: a page with both runs' clips side by side (.html), or "
            "its tables (.md, .json).",
            show_default=False,
        ),
    ] = None,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway",
            metavar=FLAG,
            help="Compare runs that were scored by different networks, from frames of different "
            "kinds, or of other prompts; the comparison says so.",
        ),
    ] = False,
    reference: Reference = None,
    cases: Cases = 12,
    width: Width = 256,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare two runs over the cases that both have, paired by name."""
    from stillmotion.apps.console import show
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation.report.markdown import comparisons, tables
    from stillmotion.evaluation.report.summary import as_facts
    from stillmotion.evaluation.report.writing import compare_runs

    options = _options(reference, cases, width)
    summary = compare_runs(first, second, output, options, anyway=anyway, overwrite=force)
    notes = [f"note: {note}" for note in summary.notes]
    parts = [tables(summary), comparisons(summary), "\n".join(notes), str(output or "")]
    show("\n\n".join(part for part in parts if part), as_facts(summary), as_json=as_json)


def _options(reference: str | None, cases: int, width: int) -> ReportOptions:
    from stillmotion.evaluation.report.gallery import GalleryOptions
    from stillmotion.evaluation.report.writing import ReportOptions

    shown = GalleryOptions(num_cases=cases, width=width)
    return ReportOptions(reference=reference, gallery=shown)
