"""`stillmotion models` and `stillmotion doctor`: what there is, and what this machine can do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from stillmotion.apps.options import Device, Download, Json


def models(
    name: Annotated[str | None, typer.Argument(help="Describe this model.")] = None,
    download: Download = False,
    as_json: Json = False,
) -> None:
    """List the models that are at hand, or describe one."""
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
            "\n\nAny folder in diffusers' layout with a motion adapter, and any hub id, can be named "
            "as well."
        )
    show(text, {"models": facts}, as_json=as_json)


def _describe(row: dict[str, Any]) -> str:
    lines = [
        f"{row['name']}: {row['title']}",
        f"  size       {row['width']} x {row['height']} pixels, {row['num_frames']} frames",
        f"  sampling   {row['num_inference_steps']} steps, guidance {row['guidance_scale']}",
        f"  looks      {', '.join(['plain', *row['looks']])}",
        f"  folder     {row['path']}",
    ]
    if row["card"]:
        lines.append(f"  card       {row['path']}/{row['card']}")
    if row["name"] == "miniature":
        lines += _miniature_words()
    return "\n".join(lines)


def _miniature_words() -> list[str]:
    from stillmotion.world.vocabulary import BACKGROUNDS, COLOURS, SUBJECT_MOTIONS

    moves = "; ".join(f"{s}: {', '.join(m)}" for s, m in SUBJECT_MOTIONS.items())
    return [
        f"  knows      subjects and their motions: {moves}",
        f"             colours: {', '.join(COLOURS)}",
        f"             backgrounds: {', '.join(BACKGROUNDS)}",
    ]


def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Tell versions, devices, memory, and how fast things would run here."""
    from stillmotion.apps.console import hush_libraries, show
    from stillmotion.runtime.system import choose_device, system_facts

    hush_libraries()
    from stillmotion.apps.speed import measure_speed

    facts: dict[str, Any] = asdict(system_facts())
    facts["speed"] = asdict(measure_speed(choose_device(device)))
    show(_diagnosis(facts), facts, as_json=as_json)


def _diagnosis(facts: dict[str, Any]) -> str:
    speed = facts["speed"]
    packages = ", ".join(f"{n} {v or 'missing'}" for n, v in facts["packages"].items())
    devices = ", ".join(f"{d['name']} ({d['description']})" for d in facts["devices"])
    return "\n".join(
        (
            f"python     {facts['python']} on {facts['platform']}",
            f"packages   {packages}",
            f"devices    {devices}; {facts['cpu_threads']} CPU threads",
            f"memory     {_gib(facts['memory_free_bytes'])} free of "
            f"{_gib(facts['memory_total_bytes'])}",
            f"disk       {_gib(facts['disk_free_bytes'])} free here",
            f"speed      {speed['gflops']:.0f} GFLOP/s in a matrix product on {speed['device']}",
            f"miniature  measured: one step of a clip {speed['miniature_step_seconds']:.2f} s, so "
            f"about {speed['miniature_clip_seconds']:.0f} s for a clip of 16 frames",
            f"full size  estimated from its arithmetic: {_duration(speed['full_clip_seconds'])} for "
            "16 frames of 512 x 512 in 25 steps, if all of it ran at that speed",
        )
    )


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"
