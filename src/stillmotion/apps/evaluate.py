"""`stillmotion evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps import (
    evaluate_benchmarks,
    evaluate_compare,
    evaluate_dynamicrafter,
    evaluate_score,
    evaluate_speed,
)
from stillmotion.apps.evaluate_common import (
    Folder,
    Model,
    Output,
    Processes,
    plan_for,
    write_table,
)
from stillmotion.apps.options import FLAG, Device, Force, Json, Quiet

app = typer.Typer(help="Measure models and methods.", no_args_is_help=True)
for part in (
    evaluate_benchmarks,
    evaluate_score,
    evaluate_compare,
    evaluate_dynamicrafter,
    evaluate_speed,
):
    app.add_typer(part.app)


@app.command()
def miniature(
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Stills, and clips of each kind.")
    ] = 200,
    model: Model = "miniature",
    write_card: Annotated[
        bool,
        typer.Option(
            "--write-card",
            metavar=FLAG,
            help="Also write the model's card, README.md and card.json, into its folder.",
        ),
    ] = False,
    folder: Folder = Path("runs/evaluation"),
    processes: Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the miniature: its parts and what it makes, against the bars it should reach.

    With a DynamiCrafter model of its size, such as miniature-dynamicrafter, measure that.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.evaluation import card
    from stillmotion.evaluation.cards import card_of
    from stillmotion.models.loading import shareable
    from stillmotion.runtime.progress import Progress

    plan = plan_for(model, folder, processes, device)
    kind = card_of(plan)
    total = kind.num_measurements(samples)
    with resumable(), Progress("evaluate miniature", total=total, quiet=quiet) as progress:
        lines = kind.measure(plan, samples, progress.advance)
    if write_card:
        named = "" if model == "miniature" else f" --model {shareable(model)}"
        command = f"stillmotion evaluate miniature{named} --samples {samples}"
        card.write_card(lines, plan.model_folder, command, kind.about)
    facts = {"samples": samples, "lines": card.as_facts(lines)}
    show(card.table(lines), facts, as_json=as_json)


@app.command()
def ablation(
    prompts: Annotated[
        int, typer.Option(metavar="N", min=1, help="Prompts, over all looks by turns.")
    ] = 25,
    model: Model = "miniature",
    output: Output = None,
    folder: Folder = Path("runs/evaluation"),
    processes: Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the rows of AnimateZero's Fig. 6: from plain AnimateDiff to the whole method.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation.ablation import as_facts, summarise, table
    from stillmotion.evaluation.run import measure
    from stillmotion.runtime.progress import Progress

    plan = plan_for(model, folder, processes, device)
    with resumable(), Progress("evaluate ablation", total=prompts, quiet=quiet) as progress:
        summary = summarise(measure(plan, "ablation", prompts, progress.advance))
    text = table(summary)
    write_table(text, output, force)
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
    model: Model = "miniature",
    output: Output = None,
    folder: Folder = Path("runs/evaluation"),
    processes: Processes = None,
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
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation import feature_table
    from stillmotion.evaluation.ablation import as_facts
    from stillmotion.evaluation.features import chosen
    from stillmotion.runtime.progress import Progress

    wanted = chosen(names or [])
    plan = plan_for(model, folder, processes, device)
    total = feature_table.num_samples(plan, wanted, prompts)
    with resumable(), Progress("evaluate features", total=total, quiet=quiet) as progress:
        entries = feature_table.measure_features(plan, wanted, prompts, progress.advance)
    text = feature_table.tables(entries)
    write_table(text, output, force)
    show(text, {"prompts": prompts, "rows": as_facts(entries)}, as_json=as_json)


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
