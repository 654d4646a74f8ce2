"""Options of `stillmotion animate` and `edit` beyond those that all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import FLAG, MACHINE, SWITCH

METHOD = "The method: each part of AnimateZero can be switched"
ENDS = "Ends and texts along the clip"
MOTION = "Motion"
PHOTOGRAPHS = "Photographs"

ClipOutput = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="NAME",
        help="Where to.  The ending chooses the format: .mp4, .webm, .gif, .webp (exact), "
        ".safetensors (exact, with latents); without ending, a folder of PNG frames (exact).",
    ),
]
Count = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="How many clips of the still, each with the next seed: NAME-1, NAME-2 and so on.",
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Number of frames; any, since a window slides along clips longer than the model's "
        "own.",
        show_default="the model's own, often 16",
    ),
]
Fps = Annotated[
    float | None, typer.Option(metavar="X", help="Frames per second.", show_default="8")
]
Scale = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Enlarge each pixel to N x N.", show_default="1"),
]
LastFrame = Annotated[
    Path | None,
    typer.Option(
        "--last-frame",
        metavar="STILL",
        help="End with this still, exactly; the clip leads from the first to it.",
        show_default=False,
        rich_help_panel=ENDS,
    ),
]
Loop = Annotated[
    bool,
    typer.Option(
        "--loop",
        metavar=FLAG,
        help="End with the first still again, exactly, so that the clip can be repeated.",
        rich_help_panel=ENDS,
    ),
]
Seamless = Annotated[
    bool,
    typer.Option(
        "--seamless",
        metavar=FLAG,
        help="A loop without its last frame, which is the first again: players that repeat the "
        "clip show no pause.",
        rich_help_panel=ENDS,
    ),
]
Towards = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="From the prompt at the first frame to this text at the last.",
        show_default=False,
        rich_help_panel=ENDS,
    ),
]
PromptAt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt-at",
        metavar="FRAME:TEXT",
        help="A text at a frame, counted from 0; between texts the meaning changes gradually.  "
        "Give it as often as needed.",
        show_default=False,
        rich_help_panel=ENDS,
    ),
]
MotionStrength = Annotated[
    float | None,
    typer.Option(
        "--motion-strength",
        metavar="X",
        min=0,
        max=2,
        help="How much moves: 0 is calm, 1 what the model does, 2 lively.",
        show_default="1",
        rich_help_panel=MOTION,
    ),
]
DriftCorrection = Annotated[
    str | None,
    typer.Option(
        "--drift-correction",
        metavar=SWITCH,
        help="Take back what the clip as a whole drifts away from the still: no jump at frame 2, "
        "no change of colours.",
        show_default="on",
        rich_help_panel=MOTION,
    ),
]
TimeTravel = Annotated[
    int | None,
    typer.Option(
        "--time-travel",
        metavar="N",
        min=0,
        help="Denoise the middle steps N times each (the paper: 5), for smoother motion; 0 is off.",
        show_default="0",
        rich_help_panel=MOTION,
    ),
]
TimeTravelWindow = Annotated[
    str | None,
    typer.Option(
        "--time-travel-window",
        metavar="A:B",
        help="From which step to before which: numbers of steps from 0, or shares such as 0.4:0.8.",
        show_default="0.4:0.8",
        rich_help_panel=MOTION,
    ),
]
WindowLength = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Frames that a window over the clip holds.",
        show_default="the clip's, at most 16",
        rich_help_panel=METHOD,
    ),
]
Photograph = Annotated[
    bool,
    typer.Option(
        "--photograph",
        metavar=FLAG,
        help="Use the pixels alone, even if the still has latents; any model can do that.",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
Trajectory = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="How a photograph gets latents: by DDIM inversion (inversion), or with one fixed "
        "noise (diffusion).",
        show_default="diffusion",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
FirstFrame = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Frame 1 is the photograph itself (photograph), or what the VAE makes of it "
        "(reconstruction).",
        show_default="photograph",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit",
        metavar="WHICH",
        help="A picture of another size fills the frame and is cut (cover), or is padded and the "
        "padding cut off the clip again (pad).",
        show_default="cover",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="PLAN",
        help="What to do to need less memory: full (nothing), lean, small, tiny (changes the "
        "result a little), or auto, the first that fits.",
        rich_help_panel=MACHINE,
    ),
]
Preview = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME.png",
        help="While it runs, show here what the clip will look like, anew every few steps.",
        show_default=False,
    ),
]
