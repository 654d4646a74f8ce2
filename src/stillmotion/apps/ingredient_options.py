"""The options that put files into a model, for every command that loads one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INGREDIENTS = "Files put into the model (.safetensors)"

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="An image model of the Stable Diffusion 1.5 family in one file.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
Vae = Annotated[
    Path | None,
    typer.Option(
        "--vae",
        metavar="FILE",
        help="Another VAE.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
Motion = Annotated[
    str | None,
    typer.Option(
        "--motion",
        metavar="FILE",
        help="Another motion module: file, folder, or hub id user/name.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE[:WEIGHT]",
        help="A LoRA to merge in; can be given several times.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
MotionLora = Annotated[
    list[str] | None,
    typer.Option(
        "--motion-lora",
        metavar="FILE[:WEIGHT]",
        help="A LoRA of the motion module, such as a camera move; several times too.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
Embedding = Annotated[
    list[Path] | None,
    typer.Option(
        "--embedding",
        metavar="FILE",
        help="A textual inversion; the file's name is the word for it.  Several times too.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
IpAdapter = Annotated[
    str | None,
    typer.Option(
        "--ip-adapter",
        metavar="FILE[:SCALE]",
        help="Let the model see a picture beside the text; needs --ip-image.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
IpImage = Annotated[
    Path | None,
    typer.Option(
        "--ip-image",
        metavar="PICTURE",
        help="The picture that the IP-Adapter sees.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="NAME",
        help="ddim, dpm++, euler, euler-trailing or lcm, instead of the model's own.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
ClipSkip = Annotated[
    int | None,
    typer.Option(
        "--clip-skip",
        metavar="N",
        min=0,
        help="Last layers of the text encoder left out; 1 is what others call clip skip 2.",
        show_default=False,
        rich_help_panel=INGREDIENTS,
    ),
]
