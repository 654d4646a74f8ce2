"""Options of `stillmotion animate` for DynamiCrafter's models."""

from __future__ import annotations

from typing import Annotated

import typer

from stillmotion.apps.options import FLAG

DYNAMICRAFTER = "DynamiCrafter: its own settings"

Method = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="animatezero or dynamicrafter.",
        show_default="the one that the model is made for",
    ),
]
FrameStride = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Pace of models that know strides, such as the 256 one: more is livelier.",
        show_default="the model's own",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
ConditioningFps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Pace of models that know frames per second, such as those of 512 and 1024: fewer is "
        "livelier.  How fast the clip is played says --fps.",
        show_default="the model's own",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
ImageGuidance = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Guidance by the picture apart from that by the text.",
        show_default="that of the text",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
GuidanceRescale = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="How far the contrast that guidance adds is taken back, 0 to 1.",
        show_default="the model's own",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
Eta = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Fresh noise of each step, 0 to 1.",
        show_default="1",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
StartTimestep = Annotated[
    int | None,
    typer.Option(
        metavar="T",
        min=0,
        help="Begin below the noisiest timestep, for instance at 940 of 999: more motion.",
        show_default="the noisiest",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
ExactFirstFrame = Annotated[
    bool,
    typer.Option(
        "--exact-first-frame",
        metavar=FLAG,
        help="Frame 1 is the picture itself, a last frame likewise.",
        rich_help_panel=DYNAMICRAFTER,
    ),
]
GateScale = Annotated[
    list[str] | None,
    typer.Option(
        "--gate-scale",
        metavar="LAYER:X",
        help="Multiply a layer's gate, which says how much it heeds the picture; LAYER is a number "
        "or name of `stillmotion inspect gates`.  Give it once for each.",
        show_default=False,
        rich_help_panel=DYNAMICRAFTER,
    ),
]
