"""What a user asks of `stillmotion animate` with a DynamiCrafter model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillmotion.apps.dynamicrafter_options import gate_scales

_AS_THEY_ARE = ("frame_stride", "conditioning_fps", "guidance_rescale", "eta", "start_timestep")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also in the dictionary) is what was left open."""

    picture: Path | None
    prompt: str | None
    source: Path | None
    last_frame: Path | None
    is_loop: bool
    seamless: bool
    seed: int | None
    count: int
    num_frames: int | None
    settings: dict[str, Any]
    """Fields of DynamiCrafterSettings."""
    fps: float | None
    scale: int | None
    output: Path
    overwrite: bool
    model: str | None
    device: str
    download: bool
    memory: str


def wish_of(said: Mapping[str, Any]) -> Wish:
    """From the options of `stillmotion animate`, by the names of its parameters."""
    shared = ("prompt", "source", "last_frame", "seamless", "seed", "count", "fps", "scale",
              "output", "model", "device", "download", "memory")  # fmt: skip
    return Wish(
        **{name: said[name] for name in shared},
        picture=said["still"],
        is_loop=said["loop"],
        num_frames=said["frames"],
        overwrite=said["force"],
        settings={
            "num_inference_steps": said["steps"],
            "guidance_scale": said["guidance"],
            "negative_prompt": said["negative"],
            "image_guidance_scale": said["image_guidance"],
            "exact_first_frame": said["exact_first_frame"] or None,
            "gate_scales": gate_scales(said["gate_scale"]),
            **{name: said[name] for name in _AS_THEY_ARE},
        },
    )
