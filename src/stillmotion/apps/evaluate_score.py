"""`stillmotion evaluate score`: the metrics of single clips, as an `evaluate` job has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.options import Device, Force, Json, Quiet
from stillmotion.apps.running import Terminal, job_of, make

app = typer.Typer()


@app.command()
def score(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP...", help="Videos, animations, or folders of pictures."),
    ],
    still: Annotated[
        Path, typer.Option(metavar="STILL", help="The picture that they were to begin with.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="NAME.json", help="Where the scores are written."),
    ],
    last_frame: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE", help="What they were to end with.", show_default=False),
    ] = None,
    prompt: Annotated[
        str, typer.Option(metavar="TEXT", help="What was to happen, for Text-Sim.")
    ] = "",
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score clips against the picture that they were to begin with, by the package's metrics.

    For many clips of several methods, and a report: `stillmotion evaluate clips`.
    """
    said = dict(locals())

    from stillmotion.errors import InputError
    from stillmotion.jobs.outputs import check_file_output

    for path in (*clips, still, last_frame):
        if path is not None and not path.exists():
            raise InputError(f"there is no '{path}'; check the name.")
    check_file_output(output, overwrite=force)

    from stillmotion.jobs.context import Output

    job = job_of({"kind": "evaluate", **{name: said[name] for name in _FIELDS}})
    # Nothing is fetched for it: what looks comes with the package.
    terminal = Terminal("score", device, download=False, as_json=as_json, quiet=quiet)
    make(job, Output(path=output, overwrite=force), terminal, _told)


_FIELDS = ("clips", "still", "last_frame", "prompt")


def _told(facts: dict[str, Any]) -> str:
    """A table with a column for each clip; a metric's title says which network looked."""
    from dataclasses import replace

    from stillmotion.evaluation.metrics.catalogue import CATALOGUE, title_of
    from stillmotion.evaluation.report.numbers import heading, of_sample

    rows = facts["clips"]
    names = {part: feature["name"] for part, feature in facts["extractors"].items()}
    lines = [_row("metric", *(row["name"] for row in rows)), _row("---", *("---:" for _ in rows))]
    for key, metric in CATALOGUE.items():
        if any(key in row["metrics"] for row in rows):
            titled = replace(metric, title=title_of(key, names.get(metric.part or "")))
            lines.append(
                _row(heading(titled), *(of_sample(row["metrics"], metric) for row in rows))
            )
    return "\n".join([*lines, "", facts["path"]])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
