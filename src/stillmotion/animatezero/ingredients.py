"""Files that a user puts into a model: a checkpoint, LoRAs, a motion module and the like."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stillmotion.errors import InputError, ModelError
from stillmotion.models.sources import HUB_ID

Weighted = tuple[Path, float]

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "lcm": ("LCMScheduler", {"clip_sample": False}),
}
"""Schedulers by name: diffusers' class, and what is changed in the model's own configuration."""


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What is put into a model in place of, or beside, its own parts; the default is nothing.

    Raises InputError for numbers and names that cannot be used.  The files are looked at when a
    model is loaded with them.
    """

    checkpoint: Path | None = None
    """U-Net, VAE and text encoder in one file, as image models are shared."""
    vae: Path | None = None
    motion: Path | str | None = None
    """A motion module: file, folder or hub id."""
    loras: tuple[Weighted, ...] = ()
    """LoRAs of the image model with their weights, merged in this order."""
    motion_loras: tuple[Weighted, ...] = ()
    """LoRAs of the motion module, such as camera moves."""
    embeddings: tuple[Path, ...] = ()
    """Textual inversions; the word for each is the name of its file."""
    ip_adapter: Path | None = None
    """An IP-Adapter; its image encoder is in the folder image_encoder beside it."""
    ip_adapter_image: Path | None = None
    """The picture that it lets the model see."""
    ip_adapter_scale: float = 1.0
    """How much that picture counts beside the text; 0 is nothing."""
    scheduler: str | None = None
    """A name out of `SCHEDULERS`; None is the model's own."""
    clip_skip: int | None = None
    """Last layers of the text encoder that are left out; None is the model's own number."""

    def __post_init__(self) -> None:
        for path, weight in (*self.loras, *self.motion_loras):
            if not math.isfinite(weight):
                raise InputError(f"the weight of '{path}' is {weight}; give a number (usual: 1).")
        if not math.isfinite(self.ip_adapter_scale) or self.ip_adapter_scale < 0:
            raise InputError(
                f"the scale of the IP-Adapter is {self.ip_adapter_scale}; give a number from 0 up."
            )
        if self.scheduler is not None and self.scheduler not in SCHEDULERS:
            raise InputError(
                f"the scheduler '{self.scheduler}' is unknown; there are: {', '.join(SCHEDULERS)}."
            )
        if self.clip_skip is not None and self.clip_skip < 0:
            raise InputError(f"clip_skip is {self.clip_skip}; give a whole number from 0 up.")
        if (self.ip_adapter is None) != (self.ip_adapter_image is None):
            raise InputError("an IP-Adapter and its picture belong together; give both or neither.")

    @property
    def replaced(self) -> frozenset[str]:
        """The parts of a model that these take the place of."""
        parts = ("checkpoint", "vae", "motion")
        return frozenset(part for part in parts if getattr(self, part) is not None)

    def record(self) -> dict[str, Any]:
        """What is there, for records: names of files without their folders, which tell no user."""
        return {
            field.name: _shareable(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


NOTHING = Ingredients()


def parse_weighted(text: str) -> Weighted:
    """`FILE[:WEIGHT]` -> file and weight, 1 if none is given.

    A name may have colons itself: only a number behind the last one is a weight, and none if
    there is a file of the whole name.

    Raises:
        InputError: no file is named, or the weight is not finite.
    """
    name, colon, number = text.rpartition(":")
    weight = _number(number) if colon and name and not Path(text).expanduser().exists() else None
    if weight is not None and not math.isfinite(weight):
        raise InputError(f"the weight in '{text}' is {number}; give a number (usual: 1).")
    path = text if weight is None else name
    if not path.strip():
        raise InputError(f"'{text}' names no file; give FILE or FILE:WEIGHT.")
    return Path(path).expanduser(), 1.0 if weight is None else weight


def find_motion(motion: Path | str) -> Path | str:
    """A motion module as a path if it is on this machine, else as a hub id.

    Raises ModelError if it can be neither.
    """
    path = Path(motion).expanduser()
    if path.exists():
        return path
    if isinstance(motion, str) and HUB_ID.fullmatch(motion) and not motion.startswith("."):
        return motion
    raise ModelError(
        f"there is no motion module '{motion}': it is neither a file nor a folder on this "
        "machine, nor a hub id of the form user/name"
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shareable(value: Any) -> Any:
    if isinstance(value, str) and Path(value).expanduser().exists():
        value = Path(value)  # a motion module on this machine, not a hub id
    if isinstance(value, Path):
        return value.name
    if isinstance(value, tuple):
        return [_shareable(item) for item in value]
    return value
