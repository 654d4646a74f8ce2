"""`stillmotion train check`: a list of clips, read before it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillmotion.apps.options import FLAG, Json, Quiet

_SHOWN = 20


def check(
    clips: Annotated[
        Path,
        typer.Argument(
            metavar="CLIPS", help="A manifest (.csv, .jsonl), a .tar shard, or a folder of them."
        ),
    ],
    frames: Annotated[
        int, typer.Option(metavar="N", min=1, help="Frames that a sample takes.")
    ] = 16,
    every_frame: Annotated[
        bool,
        typer.Option(
            "--every-frame",
            metavar=FLAG,
            help="Decode every frame, not only the first and the last of each clip.",
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read clips to train on, and say what is wrong with each that cannot be used.

    A manifest names a clip a line: path, caption, and if wanted fps, licence, start and end.
    """
    from stillmotion.apps.console import show
    from stillmotion.errors import InputError
    from stillmotion.runtime.progress import Progress
    from stillmotion.training.clips.checking import check_clips

    with Progress("check", quiet=quiet) as progress:
        found = check_clips(
            clips,
            num_frames=frames,
            every_frame=every_frame,
            report=lambda seen: progress.update(completed=seen),
        )
    facts = {
        "clips": found.num_clips,
        "usable": found.num_usable,
        "seconds": found.seconds,
        "problems": [str(problem) for problem in found.problems],
        "licences": {licence or "not said": n for licence, n in found.licences.items()},
    }
    shown = [str(problem) for problem in found.problems[:_SHOWN]]
    if len(found.problems) > _SHOWN:
        shown.append(f"and {len(found.problems) - _SHOWN} more; --json tells all")
    if found.num_usable == 0:
        raise InputError(f"none of the {found.num_clips} clips in '{clips}' can be used"
                         + (f": {shown[0]}" if shown else ""))  # fmt: skip
    usable = f"{found.num_usable} of {found.num_clips} clips can be used, {found.seconds:.0f} s"
    show("\n".join([*shown, usable]), facts, as_json=as_json)
