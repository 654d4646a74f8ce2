"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Seed = Annotated[
    int | None, typer.Option(help="Same seed, same result; by chance (and told) by default.")
]
Look = Annotated[
    str | None, typer.Option(help="A look of the model, as listed by 'stillmotion models'.")
]
Model = Annotated[
    str, typer.Option(help="'miniature', a folder in diffusers' layout, or a hub id user/name.")
]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.", show_default=False)]
Guidance = Annotated[
    float | None,
    typer.Option(help="How strictly the text is followed (1: no guidance).", show_default=False),
]
Negative = Annotated[
    str | None, typer.Option("--negative", help="What must not appear.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Download = Annotated[
    bool, typer.Option("--download", help="Allow fetching a hub id from the Hugging Face hub.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
