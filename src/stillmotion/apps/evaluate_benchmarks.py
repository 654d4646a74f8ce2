"""`stillmotion evaluate animatezero`, `dynamicrafter`, `clips` and `export`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.evaluate_common import Processes
from stillmotion.apps.evaluate_runs import ask, make_and_report, named_folders, real_clips
from stillmotion.apps.options import Device, Force, Json, Quiet

app = typer.Typer()
NUM_SCENES = 100
"""Of the world, for DynamiCrafter's benchmark."""

Run = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Run folder: clips, numbers and reports.  A rerun makes what is missing.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        metavar="NAME",
        help="Take this method; give it once for each.  `stillmotion evaluate methods` lists them.",
        show_default="the usual ones",
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH",
        help="Weights of a method that is not of this package: its folder in diffusers' layout.",
        show_default=False,
    ),
]
Extractors = Annotated[
    list[str] | None,
    typer.Option(
        "--extractor",
        metavar="PART=NAME",
        help="What metrics look with: clip, perceptual, video, flow or judge, each a name or a "
        "path; none leaves its metrics out.",
        show_default="the miniature's CLIP and judge, OpenCV's flow",
    ),
]
ScoreAs = Annotated[
    str,
    typer.Option(
        metavar="lossless|mp4", help="Score the frames as made, or as an mp4 file gives them back."
    ),
]


@app.command()
def animatezero(
    context: typer.Context,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Stills.")] = 20,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Prompts to draw; 'shipped' is the list of 20 for the catalogue's seven "
            "checkpoints.",
            show_default="scenes of the miniature's world",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="What draws and animates.")
    ] = "miniature",
    methods: Methods = None,
    weights: Weights = None,
    extractor: Extractors = None,
    score_as: ScoreAs = "lossless",
    output: Run = Path("runs/benchmark-animatezero"),
    processes: Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """AnimateZero's benchmark (Tables 1 and 2, Fig. 6): stills drawn from prompts, animated.

    Every method animates the same stills.  Stop it at any time: the same command goes on with what
    is missing.
    """
    from stillmotion.evaluation.benchmark.plans import animatezero_plan

    asked = ask(context, methods, weights, extractor, score_as, output, device, processes)
    asked = replace(asked, models={"animatezero": model})
    plan = animatezero_plan(asked, prompts=prompts, samples=samples)
    make_and_report(plan, as_json=as_json, quiet=quiet)


@app.command()
def dynamicrafter(
    context: typer.Context,
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Clips.", show_default="100 of the world, 2048 of files"
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Real clips: UCF-101, MSR-VTT, or any folder of clips.",
            show_default="scenes of the miniature's world",
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="auto|ucf101|msrvtt|folder", help="How that folder is laid out.")
    ] = "auto",
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Words or annotations of those clips.", show_default=False
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(metavar="PX", min=64, help="Side of those clips, after cutting.")
    ] = 256,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="DynamiCrafter's model.")
    ] = "miniature-dynamicrafter",
    animatezero_model: Annotated[
        str, typer.Option(metavar="NAME", help="Of the method animatezero-photograph.")
    ] = "miniature",
    methods: Methods = None,
    weights: Weights = None,
    extractor: Extractors = None,
    score_as: ScoreAs = "lossless",
    output: Run = Path("runs/benchmark-dynamicrafter"),
    processes: Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """DynamiCrafter's zero-shot benchmark (Tables 2 and 4): first frames of real clips, animated.

    Stop it at any time: the same command goes on with what is missing.
    """
    from stillmotion.evaluation.benchmark.plans import dynamicrafter_plan

    asked = ask(context, methods, weights, extractor, score_as, output, device, processes)
    asked = replace(asked, models={"dynamicrafter": model, "animatezero": animatezero_model})
    real = None if clips is None else real_clips(clips, layout, prompts, samples, quiet=quiet)
    plan = dynamicrafter_plan(asked, real=real, samples=samples or NUM_SCENES, size=size)
    make_and_report(plan, as_json=as_json, quiet=quiet)


@app.command()
def clips(
    context: typer.Context,
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR...", help="Clips, one folder for each method: DIR, or NAME=DIR."
        ),
    ],
    stills: Annotated[
        Path, typer.Option(metavar="DIR", help="The pictures; each clip is named as its picture.")
    ],
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help='Words: .json {"name": "prompt"}, .csv name,prompt, or text with one on a line.',
        ),
    ],
    ends: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Pictures that clips were to end with, named as those they begin with.",
            show_default=False,
        ),
    ] = None,
    extractor: Extractors = None,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Heading of the report.")
    ] = "Clips of other tools",
    output: Run = Path("runs/benchmark-clips"),
    processes: Processes = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score clips that any other tool made, with the metrics of both papers."""
    from stillmotion.evaluation.benchmark.plans import clips_plan

    asked = ask(context, None, None, extractor, "lossless", output, device, processes)
    plan = clips_plan(asked, named_folders(folders), stills, ends, prompts, title)
    make_and_report(plan, as_json=as_json, quiet=quiet)


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods that can be compared, those of plug-ins among them."""
    from stillmotion.apps.console import show
    from stillmotion.evaluation.benchmark.registry import registry

    facts: dict[str, Any] = {}
    lines = []
    for protocol in ("animatezero", "dynamicrafter"):
        lines.append(f"evaluate {protocol}")
        for name, spec in registry(protocol).items():
            usual = "usual" if protocol in spec.default else spec.needs_weights or "when asked for"
            lines.append(f"  {name:26} {spec.title} ({usual})")
            facts.setdefault(protocol, []).append({"name": name, "title": spec.title})
    show("\n".join(lines), facts, as_json=as_json)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the clips go.")
    ],
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy a run's clips under the names that VBench reads."""
    from stillmotion.apps.console import Notes, show
    from stillmotion.evaluation.benchmark.folder import RunFolder
    from stillmotion.evaluation.benchmark.vbench import export_vbench, num_files
    from stillmotion.runtime.progress import Progress

    folder = RunFolder(run)
    with Progress("export", total=num_files(folder), quiet=quiet) as progress:
        made = export_vbench(folder, output, force=force, tick=progress.advance)
    notes = Notes()
    for name in made.ambiguous:
        notes(name)
    lines = [f"{method}: {path}" for method, path in made.videos.items()]
    lines.append(f"pictures: {made.images}; prompts: {made.prompts}")
    facts = {
        "videos": {method: str(path) for method, path in made.videos.items()},
        "images": str(made.images), "prompts": str(made.prompts),
        "written": made.written, "kept": made.kept,
    }  # fmt: skip
    show("\n".join(lines), facts, as_json=as_json)
