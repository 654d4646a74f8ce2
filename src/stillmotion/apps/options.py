"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from stillmotion.errors import InputError

SAMPLING = "Sampling (the model's own values by default)"
MACHINE = "Model and device"
REPORT = "Files and messages"

#: Instead of the type: a flag takes no value.
FLAG = ""
SWITCH = "on|off"

Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Same seed, same result.  Without it one is chosen by chance, and told.",
        show_default=False,
    ),
]
Look = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A look of the model; `stillmotion models` lists them.",
        show_default=False,
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="miniature, a folder in diffusers' layout, or a hub id user/name.",
        rich_help_panel=MACHINE,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Denoising steps: more take longer and show finer detail.",
        show_default=False,
        rich_help_panel=SAMPLING,
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        min=0,
        help="How strictly the text is followed; 1 is no guidance, and twice as fast.",
        show_default=False,
        rich_help_panel=SAMPLING,
    ),
]
Negative = Annotated[
    str | None,
    typer.Option(
        "--negative",
        metavar="TEXT",
        help="What must not appear.",
        show_default=False,
        rich_help_panel=SAMPLING,
    ),
]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="exact|fast|turbo",
        help="fast and turbo approximate, to save time; docs/performance/speed.md has the price.",
        show_default="exact, or as the clip of --from",
        rich_help_panel=SAMPLING,
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", metavar=FLAG, help="Replace files that exist.", rich_help_panel=REPORT),
]
Device = Annotated[
    str,
    typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=MACHINE),
]
Compile = Annotated[
    str,
    typer.Option(
        "--compile",
        metavar="HOW",
        help="Compile the network first, which takes minutes, and pays where much is made in one "
        "command: off, auto, or a mode of torch.compile: default, reduce-overhead, max-autotune.",
        rich_help_panel=MACHINE,
    ),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        metavar=FLAG,
        help="Allow fetching a hub id from the Hugging Face hub; else nothing is ever fetched.",
        rich_help_panel=MACHINE,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        metavar=FLAG,
        help="Print the result as one JSON object on stdout, an error as one on stderr.",
        rich_help_panel=REPORT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", metavar=FLAG, help="Show no progress.", rich_help_panel=REPORT),
]


def on_or_off(name: str, value: str | None) -> bool | None:
    """The value of a switch, None if it was left open; InputError if it is neither on nor off."""
    if value not in (None, "on", "off"):
        raise InputError(f"--{name} is '{value}'; it can be on or off.")
    return None if value is None else value == "on"
