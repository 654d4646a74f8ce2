"""`stillmotion bench`: what the networks cost, counted, and how long clips take, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.bench_options import Report, Rounds, TimedModel, Warmups, report_option
from stillmotion.apps.bench_server import server
from stillmotion.apps.options import MACHINE, SWITCH, Device, Force, Json, Quiet

app = typer.Typer(
    help="Count what the networks cost, and measure how long clips take.", no_args_is_help=True
)

app.command()(server)


@app.callback()
def _group() -> None:
    """A group of commands."""


@app.command()
def counts(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="animatezero, dynamicrafter-256, dynamicrafter-512 or dynamicrafter-1024; give "
            "it once for each.",
            show_default="all",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        report_option("Also write the tables to this file, and all counts to NAME.json beside it."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count FLOPs, bytes, memory and operations of one call of each full-size network.

    The product's own code runs on shapes without contents: no weights, no GPU, the same numbers
    on every machine, in a minute or less.
    """
    from stillmotion.apps.bench_reports import Files

    files = Files(output, overwrite=force)

    from stillmotion.apps.console import show
    from stillmotion.benchmarks import tables
    from stillmotion.benchmarks.call import count_calls
    from stillmotion.benchmarks.full_size import calls
    from stillmotion.runtime.progress import Progress

    wanted = calls(models or [])
    with Progress("bench counts", total=len(wanted), quiet=quiet) as progress:
        found = count_calls(wanted, progress.advance)
    text, facts = tables.page(found), tables.as_facts(found)
    files.write(text, facts, {})
    show(text, facts, as_json=as_json)


@app.command("time")
def time_contenders(
    model: TimedModel = "miniature",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP",
            help="animatediff, animatezero, dynamicrafter (of full-size: dynamicrafter-256, -512 "
            "or -1024), attention or commands; give it once for each.",
            show_default="all",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Denoising steps of a clip.",
            show_default="25, and 50 of DynamiCrafter at full size",
        ),
    ] = None,
    rounds: Rounds = None,
    warmups: Warmups = None,
    compiled: Annotated[
        str,
        typer.Option(
            metavar=SWITCH,
            help="Whether compiled contenders take part; compiling takes minutes before their "
            "first clip.",
        ),
    ] = "on",
    savings: Annotated[
        str,
        typer.Option(
            metavar=SWITCH,
            help="Whether this package is also timed with its savings switched on one by one.",
        ),
    ] = "on",
    device: Device = "auto",
    output: Report = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time clips side by side: by diffusers, by the papers' letter, and by this package.

    All make the same clip from the same weights, which is checked before anything is timed.  They
    take turns, so that what disturbs one disturbs all; a matrix product and a copy, timed in the
    same run, say what the device can do at most.
    """
    from stillmotion.apps.bench_reports import Files, chosen_device, rules_on
    from stillmotion.apps.options import on_or_off

    files = Files(output, overwrite=force)
    compiles, each = (
        bool(on_or_off(name, value))
        for name, value in (("compiled", compiled), ("savings", savings))
    )
    place = chosen_device(device, model, only or [])

    from stillmotion.apps.console import show
    from stillmotion.benchmarks.arenas import arenas
    from stillmotion.benchmarks.time_report import measure, total_ticks
    from stillmotion.benchmarks.time_tables import as_facts, time_page, time_plots
    from stillmotion.runtime.progress import Progress

    wanted = arenas(
        model, place, only=only or [], num_steps=steps, compiles=compiles, each_saving=each
    )
    files.check_plots([arena.name for arena in wanted])
    rules = rules_on(place, rounds, warmups)
    with Progress("bench time", total=total_ticks(wanted, rules), quiet=quiet) as progress:
        report = measure(model, wanted, rules, progress.advance)
    facts = as_facts(report)
    text = time_page(report, files.plots)
    files.write(text, facts, time_plots(report))
    show(text, facts, as_json=as_json)


@app.command()
def curves(
    model: TimedModel = "miniature",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVE",
            help="frames, sizes, steps, clips or memory; give it once for each.",
            show_default="all",
        ),
    ] = None,
    frames: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="Frames of a clip."),
    ] = "16,32,64,128",
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Height and width in pixels.",
            show_default="32,64,96,128; at full size 256,512,768,1024",
        ),
    ] = None,
    step_counts: Annotated[
        str,
        typer.Option("--step-counts", metavar="N,N,...", help="Steps, where they are varied."),
    ] = "4,8,16,25",
    clips: Annotated[
        str,
        typer.Option(metavar="N,N,...", help="Clips that are made of one still."),
    ] = "1,2,4,8",
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Denoising steps, where they are not varied.",
            show_default="4 on a CPU, 25 on a GPU",
        ),
    ] = None,
    rounds: Rounds = None,
    warmups: Warmups = None,
    cap: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            min=0,
            help="On a GPU: let the process take no more memory than this.",
            show_default=False,
            rich_help_panel=MACHINE,
        ),
    ] = None,
    device: Device = "auto",
    output: Report = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how time and memory grow: with frames, size, steps, clips of a still, memory plans.

    What each memory plan does is told by `stillmotion animate --help`.
    """
    from stillmotion.apps.bench_reports import Files, chosen_device, curve_places, curve_rules

    files = Files(output, overwrite=force)
    given = {"frames": frames, "sizes": sizes, "steps": step_counts, "clips": clips}
    place = chosen_device(device, model, ["curves"])
    places = curve_places(only or [], given, model)
    files.check_plots(list(places))

    from stillmotion.apps.console import show
    from stillmotion.benchmarks.arenas import clip_stage, timed_dtype
    from stillmotion.benchmarks.curve_tables import curve_facts, curve_plots, curves_page
    from stillmotion.benchmarks.curves import measure_curves, num_curve_ticks
    from stillmotion.runtime.progress import Progress

    rules = curve_rules(place, rounds, warmups, steps, cap)
    stage = clip_stage(model, timed_dtype(place), device=place)
    with Progress("bench curves", total=num_curve_ticks(places), quiet=quiet) as progress:
        report = measure_curves(model, stage, places, rules, progress.advance)
    facts = curve_facts(report)
    text = curves_page(report, files.plots)
    files.write(text, facts, curve_plots(report))
    show(text, facts, as_json=as_json)
