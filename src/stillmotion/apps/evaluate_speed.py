"""`stillmotion evaluate speed`: what the approximate presets save and cost."""

from __future__ import annotations

from typing import Annotated

import typer

from stillmotion.apps.evaluate_common import Output
from stillmotion.apps.options import Device, Force, Json, Quiet

app = typer.Typer()
MODELS = ("miniature", "miniature-dynamicrafter")


@app.command()
def speed(
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Stills and clips of each kind.")
    ] = 16,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model of the miniature's kind; give it once for each.",
            show_default=" and ".join(MODELS),
        ),
    ] = None,
    output: Output = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure --speed fast and turbo against exact: work, time, and what becomes of the pictures.

    Everything is made in this process, one after another in changing order, so that times can be
    compared.
    """
    from stillmotion.apps.console import show
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.apps.evaluate_common import write_table
    from stillmotion.evaluation import speed_prices
    from stillmotion.models.loading import shareable
    from stillmotion.runtime.progress import Progress

    references = models or list(MODELS)
    what = speed_prices.priced(references, device)
    tables, found = [], []
    total = speed_prices.num_runs(what, samples)
    with Progress("evaluate speed", total=total, quiet=quiet) as progress:
        for one in what:
            entries = speed_prices.measure_prices(one, samples, progress.advance)
            tables.append(speed_prices.table(one.title, entries))
            found.append(speed_prices.facts(one.title, entries))
    named = "".join(f" --model {shareable(name)}" for name in models or ())
    about = f"`stillmotion evaluate speed --samples {samples}{named}` on {device}."
    write_table(speed_prices.document(tables, samples, about), output, force)
    show("\n\n".join(tables), {"samples": samples, "made": found}, as_json=as_json)
