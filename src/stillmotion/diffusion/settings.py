"""Settings of sampling that methods share, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How latents are denoised; the same for the still and for its video.

    Raises InputError for a number that cannot be used.
    """

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    """Classifier-free guidance; 1 or less means none."""
    height: int | None = None
    """In pixels; None means the model's own size, or that of the still."""
    width: int | None = None
    negative_prompt: str = ""
    clip_skip: int = 0
    """Last layers of the text encoder that are left out."""

    def __post_init__(self) -> None:
        require_whole("num_inference_steps", self.num_inference_steps)
        if not math.isfinite(self.guidance_scale) or self.guidance_scale < 0:
            raise InputError(
                f"guidance_scale is {self.guidance_scale}; give a number from 0 up (usual: 7.5)."
            )
        if not isinstance(self.clip_skip, int) or self.clip_skip < 0:
            raise InputError(
                f"clip_skip is {self.clip_skip!r}; give a whole number of layers from 0 up."
            )
        for name in ("height", "width"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name))

    @property
    def uses_guidance(self) -> bool:
        return self.guidance_scale > 1


def require_whole(name: str, value: object) -> None:
    """Raises InputError unless `value` is a whole number from 1 up."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}; give a whole number from 1 up.")
