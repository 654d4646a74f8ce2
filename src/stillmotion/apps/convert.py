"""`stillmotion convert`: weights of one format into another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import FLAG, REPORT, Json
from stillmotion.errors import InputError

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
        str,
        typer.Option(
            metavar="NAME",
            help="Of a checkpoint that becomes a folder: the model whose configuration and "
            "tokenizer it takes.",
        ),
    ] = "sd15",
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

    ldm: a model folder into one file in the original naming of Stable Diffusion.
    diffusers: such a file into a model folder; a LoRA into diffusers' naming.
    motion: motion modules and motion LoRAs into AnimateDiff's naming.
    motion-diffusers: the same into diffusers'.
    kohya: a LoRA into kohya's naming.
    safetensors: a pickle into a file that cannot run programs.
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
