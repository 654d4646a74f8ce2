"""`stillmotion convert`: weights of one format into another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import FLAG, REPORT, Json
from stillmotion.errors import InputError

if TYPE_CHECKING:
    from stillmotion.models.conversions import Family

app = typer.Typer()

_TARGETS = "ldm|diffusers|motion|motion-diffusers|kohya|safetensors"


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A file of weights, a model folder, or a model's name."),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="The file or folder to write.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar=_TARGETS,
            help="What it becomes.",
            show_default="the usual for what IN is",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of a checkpoint that becomes a folder: the model whose configuration and "
            "tokenizer it takes, and CLIP where a DynamiCrafter file has none.",
            show_default="sd15 for Stable Diffusion",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Of a DynamiCrafter checkpoint: CLIP's tokenizer, or a model folder with one.",
            show_default="the base's",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="256|512|1024|512-interp|t2v",
            help="Of a DynamiCrafter checkpoint that does not show which it is.",
            show_default="from tensors and name",
        ),
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle",
            metavar=FLAG,
            help="Read a pickle (.ckpt, .pt, .bin): tensors only, in a process of its own.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", metavar=FLAG, help="Replace what exists.", rich_help_panel=REPORT),
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert weights: checkpoints, motion modules, LoRAs, pickles.

    ldm: a model folder into one file in the original naming (Stable Diffusion, DynamiCrafter).
    diffusers: such a file into a model folder; a LoRA into diffusers' naming.
    motion: motion modules and motion LoRAs into AnimateDiff's naming.
    motion-diffusers: the same into diffusers'.
    kohya: a LoRA into kohya's naming.
    safetensors: a pickle into a file that cannot run programs (the usual if OUT is named so).
    """
    from stillmotion.apps.console import show
    from stillmotion.models.conversions import Target
    from stillmotion.models.conversions import convert as convert_weights

    if to is not None and to not in list(Target):
        raise InputError(f"--to is '{to}'; it can be {', '.join(Target)}.")
    done = convert_weights(
        Path(source).expanduser(),
        output,
        to=None if to is None else Target(to),
        base=base,
        allow_pickle=allow_pickle,
        overwrite=force,
        families=[_dynamicrafter(tokenizer, variant)],
    )
    facts = {
        "source": source,
        "source_is": done.source_words,
        "to": done.target.value,
        "output": str(done.output),
        "output_is": done.target_words,
    }
    text = f"{source}: {done.source_words}\n{output}: {done.target_words}"
    show(text, facts, as_json=as_json)


def _dynamicrafter(tokenizer: Path | None, variant: str | None) -> Family:
    """How DynamiCrafter's and VideoCrafter's checkpoints are converted; heavy parts come late."""
    from stillmotion.models.conversions import Family, Job
    from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
    from stillmotion.models.dynamicrafter_variants import Variant
    from stillmotion.models.layouts import VIDEO_CHECKPOINTS
    from stillmotion.models.registry import pipeline_class, resolve_model

    if variant is not None and variant not in list(Variant):
        raise InputError(f"--variant is '{variant}'; it can be {', '.join(Variant)}.")

    def base_folder(name: str | None) -> Path | None:
        if name is None or Path(name).expanduser().is_dir():
            return None if name is None else Path(name).expanduser()
        return resolve_model(name, replaced=("checkpoint", "motion")).path

    def to_folder(job: Job) -> str:
        from stillmotion.dynamicrafter.checkpoint import convert_checkpoint

        converted = convert_checkpoint(
            job.source,
            job.output,
            base=base_folder(job.base),
            tokenizer=None if tokenizer is None else tokenizer.expanduser(),
            variant=None if variant is None else Variant(variant),
            named=job.named,
            overwrite=job.overwrite,
        )
        return f"a model folder in diffusers' layout, variant {converted}"

    def to_file(job: Job) -> str:
        from stillmotion.dynamicrafter.checkpoint import export_checkpoint
        from stillmotion.models.files import describe

        export_checkpoint(job.source, job.output, overwrite=job.overwrite)
        return describe(job.output).words

    def owns(folder: Path) -> bool:
        return pipeline_class(folder) == DYNAMICRAFTER_PIPELINE

    return Family(VIDEO_CHECKPOINTS, owns, to_folder, to_file)
