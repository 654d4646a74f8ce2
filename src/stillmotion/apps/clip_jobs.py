"""From the options of `stillmotion animate` to a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillmotion.apps.options import on_or_off
from stillmotion.apps.running import job_of
from stillmotion.errors import InputError
from stillmotion.jobs.formats import clip_format
from stillmotion.jobs.gates import gate_scales
from stillmotion.jobs.model import AnyJob

_AS_THEY_ARE = (
    "still", "prompt", "method", "count", "frames", "fps", "scale", "seed", "look", "towards",
    "motion_strength", "time_travel", "photograph", "trajectory", "first_frame", "fit", "steps",
    "guidance", "negative", "row", "kv_source", "window", "query_position", "frame_norm",
    "window_length", "frame_stride", "conditioning_fps", "image_guidance", "guidance_rescale",
    "eta", "start_timestep", "exact_first_frame", "motion", "ip_adapter", "ip_image", "scheduler",
    "clip_skip", "model", "memory", "speed",
)  # fmt: skip
_SWITCHES = ("insert_latents", "share_kv", "even_pace", "drift_correction")


def job_from_options(said: Mapping[str, Any]) -> AnyJob:
    """The job that the options ask for, by the names of the command's parameters.

    Raises InputError, in the words of the options, for a value that cannot be used.
    """
    window, blocks = said["time_travel_window"], said["window_blocks"]
    fields = {
        **{name: said[name] for name in _AS_THEY_ARE},
        **{name: on_or_off(name.replace("_", "-"), said[name]) for name in _SWITCHES},
        **files_of(said),
        "kind": "animate",
        "format": clip_format(said["output"]),
        "from_clip": said["source"],
        "prompt_at": [_text_at(text) for text in said["prompt_at"] or ()],
        "time_travel_window": None if window is None else _steps(window),
        "window_blocks": blocks.split(",") if blocks else None,
        "gate_scale": gate_scales(said["gate_scale"]),
    }
    if said["last_frame"] is not None:
        fields |= {"kind": "interpolate", "last_frame": said["last_frame"]}
    elif said["loop"] or said["seamless"]:
        fields |= {"kind": "loop", "seamless": said["seamless"]}
    return job_of(fields)


def files_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The options that put files into the model, by the names of a job's fields."""
    return {
        "checkpoint": _text(said["checkpoint"]),
        "vae": _text(said["vae"]),
        "lora": tuple(said["lora"] or ()),
        "motion_lora": tuple(said["motion_lora"] or ()),
        "embedding": tuple(str(path) for path in said["embedding"] or ()),
    }


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def _text_at(text: str) -> dict[str, Any]:
    """`15:a cat` -> frame 15 and "a cat"; InputError for anything else."""
    frame, colon, words = text.partition(":")
    if not colon or not frame.strip().isdecimal() or not words.strip():
        raise InputError(f"--prompt-at is '{text}'; give FRAME:TEXT, for instance 15:\"a cat\".")
    return {"frame": int(frame), "text": words.strip().strip('"')}


def _steps(window: str) -> Sequence[int | float]:
    """`10:20` or `0.4:0.8` -> the two numbers; InputError for anything else."""
    try:
        start, stop = (float(part) if "." in part else int(part) for part in window.split(":"))
    except ValueError as error:
        raise InputError(
            f"--time-travel-window is '{window}'; give A:B, two steps such as 10:20 or two shares "
            "such as 0.4:0.8."
        ) from error
    return start, stop
