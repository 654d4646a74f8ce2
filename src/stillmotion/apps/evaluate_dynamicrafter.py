"""`stillmotion evaluate dynamicrafter-ablation` and `dynamicrafter-settings`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.evaluate_common import Folder, Output, Processes, plan_for, write_table
from stillmotion.apps.options import Device, Force, Json, Quiet

if TYPE_CHECKING:
    from stillmotion.miniature.video_ablations import AblationSteps

app = typer.Typer()


@app.command()
def dynamicrafter_ablation(
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--ablations",
            metavar="NAME",
            help="Train and measure this one; give it once for each: full, without-context, "
            "without-detail-guidance, without-gate, global-token, train-everything, first-frame, "
            "one-stage.",
            show_default="all",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Clips of each, over all looks by turns.")
    ] = 50,
    training: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Run folder of `stillmotion train miniature` with the finished stage video; what "
            "is trained here goes there too.",
        ),
    ] = Path("runs/miniature"),
    context_steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps of P on the image model.")
    ] = 800,
    adapt_steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps on the video model.")
    ] = 200,
    joint_steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps with detail guidance.")
    ] = 600,
    output: Output = None,
    folder: Folder = Path("runs/evaluation"),
    processes: Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and measure the ablations of DynamiCrafter's Table 4 and Fig. 5b.

    All get the same number of steps, on the miniature's text-to-video model.  Stop it at any time:
    the same command goes on.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.dynamicrafter.stages import ABLATIONS
    from stillmotion.evaluation.ablation import as_facts
    from stillmotion.evaluation.video_ablation import measure_ablation, orderings, table
    from stillmotion.miniature.video_ablations import AblationSteps
    from stillmotion.runtime.progress import Progress

    steps = AblationSteps(context=context_steps, adapt=adapt_steps, joint=joint_steps)
    measured = {}
    with resumable():
        for name in names or ABLATIONS:
            model = _trained_ablation(name, training, steps, device, quiet=quiet)
            plan = plan_for(str(model), folder, processes, device)
            with Progress(f"measure {name}", total=samples, quiet=quiet) as progress:
                measured[name] = measure_ablation(plan, samples, progress.advance)
    compared = orderings(measured)
    text = table(measured, compared)
    write_table(text, output, force)
    rows = as_facts([{"ablation": name, **one.told} for name, one in measured.items()])
    facts = {"steps": asdict(steps), "rows": rows, "orderings": compared}
    show(text, facts, as_json=as_json)


def _trained_ablation(
    name: str, training: Path, steps: AblationSteps, device: str, *, quiet: bool
) -> Path:
    from stillmotion.miniature.recipe import cpu_recipe
    from stillmotion.miniature.stages import Workshop
    from stillmotion.miniature.train import PARTS, reporter
    from stillmotion.miniature.video_ablations import train_ablation
    from stillmotion.miniature.video_stages import VideoWorkshop
    from stillmotion.runtime.progress import Progress
    from stillmotion.runtime.system import choose_device

    with Progress(f"train {name}", total=PARTS, quiet=quiet) as progress:
        shop = Workshop(cpu_recipe(), training, choose_device(device), reporter(progress))
        return train_ablation(VideoWorkshop(shop), name, steps)


@app.command()
def dynamicrafter_settings(
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--settings",
            metavar="NAME",
            help="Measure this one; give it once for each.",
            show_default="all",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="Clips of each, over all looks by turns.")
    ] = 50,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A DynamiCrafter model of the miniature's size.")
    ] = "miniature-dynamicrafter",
    output: Output = None,
    folder: Folder = Path("runs/evaluation"),
    processes: Processes = None,
    device: Device = "cpu",
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what DynamiCrafter's settings do to a clip, on the procedural world.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.apps.console import resumable, show
    from stillmotion.jobs.outputs import check_file_output

    if output is not None:
        check_file_output(output, overwrite=force)

    from stillmotion.evaluation.ablation import as_facts
    from stillmotion.evaluation.video_settings import chosen, measure_settings, table
    from stillmotion.runtime.progress import Progress

    wanted = chosen(names or [])
    plan = plan_for(model, folder, processes, device)
    total = samples * len(wanted)
    with resumable(), Progress("evaluate settings", total=total, quiet=quiet) as progress:
        entries = measure_settings(plan, wanted, samples, progress.advance)
    text = table(entries)
    write_table(text, output, force)
    show(text, {"rows": as_facts(entries)}, as_json=as_json)
