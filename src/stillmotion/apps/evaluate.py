"""`stillmotion evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import FLAG, Device, Force, Json, Quiet

if TYPE_CHECKING:
    from stillmotion.evaluation.run import Plan

app = typer.Typer(help="Measure models and methods.", no_args_is_help=True)

_Model = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="miniature, or a folder written by `stillmotion train --package`."
    ),
]
_Folder = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER", help="Where finished samples are kept; a rerun makes what is missing."
    ),
]
_Processes = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Worker processes.", show_default="one for each CPU core"
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="NAME.md",
        help="Also write the table to this file.",
        show_default=False,
    ),
]


@app.command()
def miniature(
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Stills, and clips of each kind.")
    ] = 200,
    model: _Model = "miniature",
    write_card: Annotated[
        bool,
        typer.Option(
            "--write-card",
            metavar=FLAG,
            help="Also write the model's card, README.md and card.json, into its folder.",
        ),
    ] = False,
    folder: _Folder = Path("runs/evaluation"),
    processes: _Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the miniature: its parts and what it makes, against the bars it should reach.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.evaluation import card
    from stillmotion.runtime.progress import Progress

    plan = _plan(model, folder, processes, device)
    total = card.num_measurements(samples)
    with resumable(), Progress("evaluate miniature", total=total, quiet=quiet) as progress:
        lines = card.measure_card(plan, samples, progress.advance)
    if write_card:
        command = f"stillmotion evaluate miniature --samples {samples}"
        card.write_card(lines, plan.model_folder, command)
    facts = {"samples": samples, "lines": card.as_facts(lines)}
    show(card.table(lines), facts, as_json=as_json)


@app.command()
def ablation(
    prompts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Prompts, over all looks by turns.")
    ] = 25,
    model: _Model = "miniature",
    output: _Output = None,
    folder: _Folder = Path("runs/evaluation"),
    processes: _Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the rows of AnimateZero's Fig. 6: from plain AnimateDiff to the whole method.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.apps.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation.ablation import as_facts, summarise, table
    from stillmotion.evaluation.run import measure
    from stillmotion.runtime.progress import Progress

    plan = _plan(model, folder, processes, device)
    with resumable(), Progress("evaluate ablation", total=prompts, quiet=quiet) as progress:
        summary = summarise(measure(plan, "ablation", prompts, progress.advance))
    text = table(summary)
    _write(text, output, force)
    show(text, {"prompts": prompts, "rows": as_facts(summary)}, as_json=as_json)


@app.command()
def features(
    prompts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Prompts, over all looks by turns.")
    ] = 20,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="NAME",
            help="Measure this feature; give it once for each.",
            show_default="all",
        ),
    ] = None,
    model: _Model = "miniature",
    output: _Output = None,
    folder: _Folder = Path("runs/evaluation"),
    processes: _Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what each feature does to a clip: its ends, steps, colours, motion, time and memory.

    Needs OpenCV (the extra `edit`).  Stop it at any time: the same command goes on with what is
    missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.apps.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation import feature_table
    from stillmotion.evaluation.ablation import as_facts
    from stillmotion.evaluation.features import chosen
    from stillmotion.runtime.progress import Progress

    wanted = chosen(names or [])
    plan = _plan(model, folder, processes, device)
    total = feature_table.num_samples(plan, wanted, prompts)
    with resumable(), Progress("evaluate features", total=total, quiet=quiet) as progress:
        entries = feature_table.measure_features(plan, wanted, prompts, progress.advance)
    text = feature_table.tables(entries)
    _write(text, output, force)
    show(text, {"prompts": prompts, "rows": as_facts(entries)}, as_json=as_json)


def _write(text: str, output: Path | None, force: bool) -> None:
    """Write a table to the file that is asked for, if one is."""
    from stillmotion.runtime.files import atomic_path

    if output is not None:
        with atomic_path(output, overwrite=force) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


@app.command()
def memory(as_json: Json = False) -> None:
    """Count what the memory plans need for Stable Diffusion 1.5 and 16 frames of 512 x 512."""
    from stillmotion.apps.console import show
    from stillmotion.evaluation.memory import (
        FULL_SIZE,
        as_facts,
        full_size_networks,
        peaks,
        table,
    )

    found = peaks(full_size_networks(), FULL_SIZE)
    show(table(found), {"presets": as_facts(found)}, as_json=as_json)


def _plan(model: str, folder: Path, processes: int | None, device: str) -> Plan:
    """The plan for a model, whose rows lie in a folder of their own for each set of weights."""
    from stillmotion.evaluation.run import Plan, model_identity
    from stillmotion.models.registry import resolve_model
    from stillmotion.runtime.system import choose_device

    found = resolve_model(model)
    return Plan(
        reference=model,
        model_folder=found.path,
        folder=folder / model_identity(found.path)[:12],
        device=str(choose_device(device)),
        processes=processes or os.cpu_count() or 1,
    )
