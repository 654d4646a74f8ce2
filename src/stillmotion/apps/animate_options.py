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
        help="Number of frames.  There is no limit: along a long clip a window slides.",
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
        help="End with this still or picture, exactly; the clip leads from the first to it.",
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
        help="A loop without its last frame, which is the first again: one frame fewer, and "
        "players that repeat the clip show no pause.",
        rich_help_panel=ENDS,
    ),
]
EvenPace = Annotated[
    str | None,
    typer.Option(
        "--even-pace",
        metavar=SWITCH,
        help="With a last frame: make twice as many frames and keep those between which about "
        "the same amount changes; takes twice as long.",
        show_default="on with --last-frame, off with --loop",
        rich_help_panel=ENDS,
    ),
]
Towards = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Let the text change along the clip, from the prompt at the first frame to this one "
        "at the last.",
        show_default="with a drawn --last-frame its prompt, unless one is given",
        rich_help_panel=ENDS,
    ),
]
PromptAt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt-at",
        metavar="FRAME:TEXT",
        help="The text at a frame, counted from 0; between two of them the meaning changes "
        "gradually.  Can be given several times.",
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
        help="How much moves: 0 is calm, 1 what the model does by itself, 2 lively.",
        show_default="1",
        rich_help_panel=MOTION,
    ),
]
DriftCorrection = Annotated[
    str | None,
    typer.Option(
        "--drift-correction",
        metavar=SWITCH,
        help="Keep the colours of the still through the clip, without a jump at its second "
        "frame; not in the paper.",
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
        help="Denoise the middle steps N times each (the paper: 5), for smoother motion; takes "
        "longer.  0 is off.",
        show_default="0",
        rich_help_panel=MOTION,
    ),
]
TimeTravelWindow = Annotated[
    str | None,
    typer.Option(
        "--time-travel-window",
        metavar="A:B",
        help="Which steps --time-travel repeats, from A to before B: numbers of steps, counted "
        "from 0, or shares of all.",
        show_default="0.4:0.8",
        rich_help_panel=MOTION,
    ),
]
WindowLength = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Frames that are seen together; along a longer clip such a window slides.",
        show_default="the clip's, at most 16",
        rich_help_panel=METHOD,
    ),
]
Photograph = Annotated[
    bool,
    typer.Option(
        "--photograph",
        metavar=FLAG,
        help="Animate the pixels alone, even if the still has latents; any model can do that.",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
Trajectory = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="How a photograph gets latents: with one fixed noise (diffusion), or by DDIM "
        "inversion (inversion), which takes longer.",
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
        help="What becomes of a picture of another shape: its borders are cut (cover), or it is "
        "padded, and the padding cut off the clip again (pad).",
        show_default="cover",
        rich_help_panel=PHOTOGRAPHS,
    ),
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="PLAN",
        help="What is done to need less memory: full (nothing), lean, small, tiny (which changes "
        "the result a little), or auto, the first of them that fits.",
        rich_help_panel=MACHINE,
    ),
]
Preview = Annotated[
    Path | None,
    typer.Option(
        metavar="NAME.png",
        help="While it runs, keep a picture here of how all frames seem to become.",
        show_default=False,
    ),
]
