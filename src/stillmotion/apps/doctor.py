"""`stillmotion models` and `stillmotion doctor`: what there is, and what this machine can do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer

from stillmotion.apps import models
from stillmotion.apps.model_words import line
from stillmotion.apps.options import Device, Json

app = typer.Typer()
app.add_typer(models.app, name="models")


@app.command()
def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Tell versions, devices, memory, and how fast things would run here.

    Takes some seconds, since it measures.
    """
    from stillmotion.apps.console import show
    from stillmotion.apps.speed import measure_speed
    from stillmotion.errors import ModelError
    from stillmotion.runtime.system import choose_device, system_facts
    from stillmotion.runtime.threads import threads_in_use

    place = choose_device(device)
    facts: dict[str, Any] = asdict(system_facts()) | {"threads": asdict(threads_in_use())}
    try:
        facts["speed"] = asdict(measure_speed(place))
    except ModelError as error:  # a damaged installation is what a doctor is for
        facts["speed"] = {"error": str(error)}
    show(_diagnosis(facts), facts, as_json=as_json)


def _diagnosis(facts: dict[str, Any]) -> str:
    packages = ", ".join(f"{n} {v or 'missing'}" for n, v in facts["packages"].items())
    devices = ", ".join(_device(d) for d in facts["devices"])
    lines = [
        line("python", f"{facts['python']} on {facts['platform']}"),
        line("packages", packages),
        line("devices", f"{devices}; {facts['cpu_threads']} CPU threads"),
        line("threads", f"{facts['threads']['count']} in use: {facts['threads']['reason']}"),
        line("memory", _memory(facts["memory_free_bytes"], facts["memory_total_bytes"])),
        line("disk", f"{_gib(facts['disk_free_bytes'])} free in this folder"),
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
        return [line("miniature", f"not measured: {speed['error']}")]
    return [
        line(
            "speed",
            f"measured: {speed['gflops']:.0f} GFLOP/s in a product of {speed['precision']} "
            f"matrices on {speed['device']}{_threads(speed)}",
        ),
        line(
            "miniature",
            f"measured: {speed['miniature_step_seconds']:.2f} s for one step of a clip of "
            f"{speed['num_frames']} frames; so about {_duration(speed['miniature_clip_seconds'])} "
            f"for its {speed['num_steps']} steps, loading and saving apart",
        ),
        line(
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
