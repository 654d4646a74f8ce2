"""`stillmotion train dynamicrafter`: its stages on clips of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillmotion.apps.options import FLAG, MACHINE, REPORT, Device, Json, Quiet
from stillmotion.errors import StillmotionError
from stillmotion.jobs.failures import EXIT_INTERRUPTED, EXIT_USER_ERROR

if TYPE_CHECKING:
    from stillmotion.finetuning.run import Outcome, StageRun

CLIPS = "Clips"
OPTIMISATION = "Optimisation"

commands = typer.Typer()


@commands.command()
def dynamicrafter(
    stage: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="base (an image model to a text-to-video model), the paper's context, adapt and "
            "joint, or interpolation.",
        ),
    ],
    start: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="What it begins with, a folder or a model's name.  base, context: an image model; "
            "adapt: a text-to-video model; joint, interpolation: what the stage before made.",
        ),
    ],
    clips: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="A manifest (.csv, .jsonl), a .tar shard, a folder of them, or the word world.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The folder to make: what the next stage begins with, and from adapt on what "
            "`animate --model` takes.",
        ),
    ],
    context: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="For adapt: what the stage context made.", show_default=False
        ),
    ] = None,
    image_encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For context: CLIP with its vision tower, or a model folder with image_encoder.",
            show_default=False,
        ),
    ] = None,
    ablation: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="full, or one of the paper's: without-context, without-detail-guidance, "
            "without-gate, global-token, train-everything, first-frame, one-stage.",
        ),
    ] = "full",
    height: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="In pixels; another size makes a model of that size.",
            show_default="the model's own",
            rich_help_panel=CLIPS,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default="the model's own", rich_help_panel=CLIPS),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames of a clip.",
            show_default="the model's own, else 16",
            rich_help_panel=CLIPS,
        ),
    ] = None,
    min_stride: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Every so manieth frame of a clip is taken, by chance between this and the "
            "largest.",
            rich_help_panel=CLIPS,
        ),
    ] = 1,
    max_stride: Annotated[int, typer.Option(metavar="N", min=1, rich_help_panel=CLIPS)] = 6,
    skip_damaged: Annotated[
        bool,
        typer.Option(
            "--skip-damaged",
            metavar=FLAG,
            help="Take another clip for one that is missing, damaged or too short.",
            rich_help_panel=CLIPS,
        ),
    ] = False,
    batch: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Clips that are computed at once, in each process.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 1,
    accumulate: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Batches of each process for one step.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 1,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Steps in all.",
            show_default="the paper's, unless --seconds is given",
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Time in all; with --steps, whichever is used up first.",
            show_default=False,
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="X", show_default="the paper's", rich_help_panel=OPTIMISATION),
    ] = None,
    ema: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Decay of the average of the weights that is saved; 0 saves the last weights.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 0.999,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Same seed, same batches and same new weights.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 0,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="no, bf16 or fp16: mixed precision.",
            show_default="bf16 on a GPU, else no",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            metavar=FLAG,
            help="Compute activations a second time: less memory, more time.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    sharded: Annotated[
        bool,
        typer.Option(
            "--sharded",
            metavar=FLAG,
            help="Share weights and optimiser out over the processes (FSDP2).",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Processes that read clips ahead, for each that trains.",
            rich_help_panel=MACHINE,
        ),
    ] = 0,
    device: Device = "auto",
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where checkpoint and log are kept.",
            show_default="the output's name with -training",
            rich_help_panel=REPORT,
        ),
    ] = None,
    checkpoint_every: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, rich_help_panel=REPORT),
    ] = 600.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one stage of DynamiCrafter on clips of your own.

    Stop it at any time: the same command goes on from the last step.  For several GPUs start it
    by torchrun.  docs/dynamicrafter.md has the recipes.
    """
    from stillmotion.finetuning.request import StageRequest, TrainingOptions

    request = StageRequest(
        stage=stage, start=start, clips=clips, output=output, context=context,
        image_encoder=image_encoder, ablation=ablation, run_folder=folder,
    )  # fmt: skip
    options = TrainingOptions(
        height=height, width=width, frames=frames, batch=batch, accumulate=accumulate, steps=steps,
        seconds=seconds, learning_rate=learning_rate, precision=precision,  # type: ignore[arg-type]
        ema=ema, min_stride=min_stride, max_stride=max_stride, seed=seed, workers=workers,
        gradient_checkpointing=gradient_checkpointing, sharded=sharded, device=device,
        skip_damaged=skip_damaged, checkpoint_seconds=checkpoint_every,
    )  # fmt: skip
    outcome = _train(_begun(request, options), quiet=quiet)
    if outcome is not None:
        _tell(outcome, as_json=as_json)


def _begun(request: Any, options: Any) -> StageRun:
    """The run, ready to train.  All processes find the same mistakes; the main one tells them."""
    from stillmotion.finetuning.run import StageRun, is_main_process

    try:
        return StageRun(request, options)
    except StillmotionError:
        if is_main_process():
            raise
        raise SystemExit(EXIT_USER_ERROR) from None


def _train(run: StageRun, *, quiet: bool) -> Outcome | None:
    """Train with a bar; the outcome in the main process, None in others."""
    from stillmotion.apps.console import resumable
    from stillmotion.finetuning.run import is_main_process
    from stillmotion.miniature.train import PARTS, reporter
    from stillmotion.runtime.progress import Progress

    if not is_main_process():
        try:
            run.train()
        except KeyboardInterrupt:
            raise SystemExit(EXIT_INTERRUPTED) from None
        return None
    with resumable(), Progress(f"train {run.stage.name}", total=PARTS, quiet=quiet) as progress:
        return run.train(reporter(progress))


def _tell(outcome: Outcome, *, as_json: bool) -> None:
    from stillmotion.apps.console import Notes, show

    notes = Notes()
    for sentence, times in outcome.skipped.items():
        notes(f"passed over {times} times: {sentence}")
    done = "was finished before" if outcome.was_finished else "trained"
    facts = {
        "stage": outcome.stage, "output": str(outcome.output), "steps": outcome.steps,
        "was_finished": outcome.was_finished, "notes": notes.said,
    }  # fmt: skip
    text = f"{done}: {outcome.stage}, {outcome.steps} steps, in {outcome.output}"
    show(text, facts, as_json=as_json)
