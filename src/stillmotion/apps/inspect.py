"""`stillmotion inspect gates`: how much each layer of a DynamiCrafter heeds the picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillmotion.apps.options import Download, Force, Json

if TYPE_CHECKING:
    from PIL import Image

app = typer.Typer(help="Look into models.", no_args_is_help=True)
_BAR, _TOP = 24, 2.0
"""Characters of a bar for a gate of 2, the largest."""


@app.callback()
def _group() -> None:
    """A group, even with one command."""


@app.command()
def gates(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A DynamiCrafter model: its name, its folder, or its U-Net's."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="NAME.png", help="A plot as well.", show_default=False
        ),
    ] = None,
    download: Download = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Tell the gate of every layer, from the first to the last (Fig. 2a of the paper).

    At 1 text and picture count alike; towards 2 the picture counts more, towards 0 less.
    """
    from stillmotion.apps.console import show
    from stillmotion.dynamicrafter.gates import read_gates
    from stillmotion.errors import OutputError
    from stillmotion.jobs.outputs import check_file_output
    from stillmotion.models.registry import resolve_model
    from stillmotion.runtime.files import atomic_path

    if output is not None:
        if output.suffix.lower() != ".png":
            raise OutputError(f"'{output}' cannot hold a plot; use the ending .png.")
        check_file_output(output, overwrite=force)
    folder = Path(model).expanduser()
    if not (folder / "config.json").is_file():
        folder = resolve_model(model, download=download).path
    found = read_gates(folder)
    if output is not None:
        with atomic_path(output, overwrite=force) as temporary:
            plotted(list(found.values())).save(temporary)
    width = max(len(name) for name in found)
    lines = [f"{name:{width}}  {gate:.3f}  {_bar(gate)}" for name, gate in found.items()]
    if output is not None:
        lines.append(str(output))
    facts = {"gates": found, "plot": None if output is None else str(output)}
    show("\n".join(lines), facts, as_json=as_json)


def _bar(gate: float) -> str:
    return "█" * round(_BAR * gate / _TOP)


def plotted(values: list[float]) -> Image.Image:
    """A bar for each value from 0 to 2, with a line at 1; layers from left to right."""
    from PIL import Image, ImageDraw

    bar, gap, height, margin = 28, 10, 240, 40
    width = 2 * margin + len(values) * (bar + gap)
    picture = Image.new("RGB", (width, height + 2 * margin), "white")
    draw = ImageDraw.Draw(picture)

    def level(value: float) -> float:
        return margin + height * (1 - value / _TOP)

    for value in (0.0, 0.5, 1.0, 1.5, 2.0):
        draw.line((margin, level(value), width - margin, level(value)), "black" if value == 1
                  else "lightgrey")  # fmt: skip
        draw.text((8, level(value) - 6), f"{value:.1f}", "black")
    for number, value in enumerate(values):
        left = margin + gap // 2 + number * (bar + gap)
        draw.rectangle((left, level(value), left + bar, level(0)), "steelblue")
        draw.text((left, level(value) - 14), f"{value:.2f}", "black")
        draw.text((left + bar // 3, level(0) + 6), str(number + 1), "black")
    draw.text((margin, height + 2 * margin - 16), "layer, from the first to the last", "black")
    return picture
