"""Options of `stillmotion animate` that switch the parts of AnimateZero."""

from __future__ import annotations

from typing import Annotated

import typer

from stillmotion.apps.animate_options import METHOD
from stillmotion.apps.options import SWITCH

Ablation = Annotated[
    str | None,
    typer.Option(
        "--ablation",
        metavar="ROW",
        help="A row of the paper's Fig. 6, a (plain AnimateDiff) to e (all parts).",
        show_default=False,
        rich_help_panel=METHOD,
    ),
]
InsertLatents = Annotated[
    str | None,
    typer.Option(
        metavar=SWITCH,
        help="Frame 1 follows the still's latents.",
        show_default="on",
        rich_help_panel=METHOD,
    ),
]
ShareKv = Annotated[
    str | None,
    typer.Option(
        metavar=SWITCH,
        help="All frames take keys and values from frame 1.",
        show_default="on",
        rich_help_panel=METHOD,
    ),
]
KvSource = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Those of frame 1 in the video's own pass (video), or in the still's, run beside "
        "it (still).",
        show_default="video",
        rich_help_panel=METHOD,
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Frames attend to earlier frames only: off, uncorrected, or with corrected "
        "positions (corrected).",
        show_default="corrected",
        rich_help_panel=METHOD,
    ),
]
WindowBlocks = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Where in the U-Net the window applies: down, mid, up, joined by commas.",
        show_default="down",
        rich_help_panel=METHOD,
    ),
]
QueryPosition = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Position of a frame's query in the corrected window: last or own.",
        show_default="last",
        rich_help_panel=METHOD,
    ),
]
FrameNorm = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Normalisation in motion modules: as AnimateDiff (per_frame) or as diffusers "
        "(across_frames).",
        show_default="per_frame",
        rich_help_panel=METHOD,
    ),
]
