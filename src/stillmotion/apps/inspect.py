"""`stillmotion models` and `stillmotion doctor`: what there is, and what this machine can do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer

from stillmotion.apps.options import Device, Download, Json

app = typer.Typer()

_INDENT = 13
_WIDTH = 100


@app.command()
def models(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Describe this one: a listed name, a folder, or a hub id.",
            show_default="list what is at hand",
        ),
    ] = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """List the models that are at hand, or describe one: size, defaults, looks."""
    from stillmotion.apps.console import show
    from stillmotion.models.registry import known_models, resolve_model

    found = known_models() if name is None else [resolve_model(name, download=download)]
    facts = [
        {"name": m.name, "path": str(m.path), **m.description.model_dump(mode="json")}
        for m in found
    ]
    text = "\n\n".join(_describe(row) for row in facts)
    if name is None:
        text += (
            "\n\nBesides, --model takes any folder in diffusers' layout that has a motion adapter, "
            "and any\nhub id user/name of such a model (fetched only with --download)."
        )
    show(text, {"models": facts}, as_json=as_json)


def _describe(row: dict[str, Any]) -> str:
    lines = [
        f"{row['name']}: {row['title']}",
        _line("size", f"{row['width']} x {row['height']} pixels, {row['num_frames']} frames"),
        _line(
            "sampling", f"{row['num_inference_steps']} steps, guidance {row['guidance_scale']:g}"
        ),
        _line("looks", ", ".join(["plain", *row["looks"]])),
        _line("folder", row["path"]),
    ]
    if row["card"] and Path(row["path"], row["card"]).is_file():
        lines.append(_line("card", f"{row['path']}/{row['card']}"))
    if row["name"] == "miniature":
        lines += _miniature_words()
    return "\n".join(lines)


def _miniature_words() -> list[str]:
    from stillmotion.world.vocabulary import BACKGROUNDS, COLOURS, SUBJECT_MOTIONS

    moves = "; ".join(f"{s}: {', '.join(m)}" for s, m in SUBJECT_MOTIONS.items())
    return [
        _line("subjects", f"and their motions: {moves}"),
        _line("colours", ", ".join(COLOURS)),
        _line("backgrounds", ", ".join(BACKGROUNDS)),
    ]


def _line(label: str, text: str) -> str:
    """A label and its text, wrapped; a single long word, such as a path, stays in one piece."""
    return fill(
        text,
        _WIDTH,
        initial_indent=f"  {label}".ljust(_INDENT + 2),
        subsequent_indent=" " * (_INDENT + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


@app.command()
def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Tell versions, devices, memory, and how fast things would run here.

    Takes some seconds, since it measures.
    """
    from stillmotion.apps.console import show
    from stillmotion.apps.speed import measure_speed
    from stillmotion.errors import ModelError
    from stillmotion.runtime.system import choose_device, system_facts

    place = choose_device(device)
    facts: dict[str, Any] = asdict(system_facts())
    try:
        facts["speed"] = asdict(measure_speed(place))
    except ModelError as error:  # a damaged installation is what a doctor is for
        facts["speed"] = {"error": str(error)}
    show(_diagnosis(facts), facts, as_json=as_json)


def _diagnosis(facts: dict[str, Any]) -> str:
    packages = ", ".join(f"{n} {v or 'missing'}" for n, v in facts["packages"].items())
    devices = ", ".join(_device(d) for d in facts["devices"])
    lines = [
        _line("python", f"{facts['python']} on {facts['platform']}"),
        _line("packages", packages),
        _line("devices", f"{devices}; {facts['cpu_threads']} CPU threads"),
        _line("memory", _memory(facts["memory_free_bytes"], facts["memory_total_bytes"])),
        _line("disk", f"{_gib(facts['disk_free_bytes'])} free in this folder"),
        *_speed_lines(facts["speed"]),
    ]
    return "\n".join(line.removeprefix("  ") for line in lines)


def _device(device: dict[str, Any]) -> str:
    memory = device["memory_bytes"]
    return f"{device['name']} ({device['description']}" + (
        f", {_gib(memory)})" if memory is not None else ")"
    )


def _speed_lines(speed: dict[str, Any]) -> list[str]:
    if "error" in speed:
        return [_line("miniature", f"not measured: {speed['error']}")]
    return [
        _line(
            "speed",
            f"measured: {speed['gflops']:.0f} GFLOP/s in a product of {speed['precision']} "
            f"matrices on {speed['device']}{_threads(speed)}",
        ),
        _line(
            "miniature",
            f"measured: {speed['miniature_step_seconds']:.2f} s for one step of a clip of "
            f"{speed['num_frames']} frames; so about {_duration(speed['miniature_clip_seconds'])} "
            f"for its {speed['num_steps']} steps, loading and saving apart",
        ),
        _line(
            "full size",
            f"estimated, not measured: at least {_duration(speed['full_clip_seconds'])} for 16 "
            "frames of 512 x 512 in 25 steps, which is the arithmetic of Stable Diffusion 1.5 "
            "with AnimateDiff at the speed above",
        ),
    ]


def _threads(speed: dict[str, Any]) -> str:
    """Said where it matters: this run may use fewer threads than the machine has."""
    if speed["device"] != "cpu":
        return ""
    return f", with {speed['threads']} thread{'s' if speed['threads'] > 1 else ''}"


def _memory(free: int | None, total: int | None) -> str:
    if free is None or total is None:
        return "this system does not tell"
    return f"{_gib(free)} free of {_gib(total)}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
