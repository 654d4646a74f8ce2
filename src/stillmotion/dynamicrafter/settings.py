"""Settings of DynamiCrafter, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Self

from stillmotion.diffusion.settings import require_whole
from stillmotion.errors import InputError

PaceKind = Literal["frame_stride", "conditioning_fps"]
"""What a network was told of how fast its clips move; never both."""


@dataclass(frozen=True, kw_only=True)
class DynamiCrafterSettings:
    """How a picture is animated.  Raises InputError for a number that cannot be used."""

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    """Of the text; or of text and image together, if the image has no scale of its own."""
    image_guidance_scale: float | None = None
    """Of the image apart from the text: multi-condition guidance, which needs the network three
    times a step instead of twice.  1 neither adds nor takes away."""
    guidance_rescale: float = 0.0
    """φ of `rescale_guidance`, 0 to 1; the 512 and 1024 models use 0.7."""
    eta: float = 1.0
    """Fresh noise of each step: 0 is DDIM, 1 as much as DDPM."""
    negative_prompt: str = ""
    height: int | None = None
    """In pixels; None means the model's own size."""
    width: int | None = None
    frame_stride: int | None = None
    """Of models that know strides: frames of the source per frame of the clip, more is livelier."""
    conditioning_fps: int | None = None
    """Of models that know frames per second: those of the source, fewer is livelier.  It is not
    the speed at which the clip is played."""
    start_timestep: int | None = None
    """Begin the denoising here, below the noisiest timestep: the picture leaks less, and there is
    more motion (arXiv:2406.15735); 940 of 999 is theirs for the 512 model."""
    exact_first_frame: bool = False
    """Frame 1 is the picture itself, and what the others lack of it is given back to them; a last
    frame likewise."""
    image_context: bool = True
    """False: the network is told of a grey picture in place of the given one, as at training."""
    detail_guidance: bool = True
    """False: zeros are concatenated in place of the picture's latents.  The network has not seen
    that; it shows what the guidance does."""
    gate_scales: Mapping[str | int, float] = field(default_factory=dict)
    """Factors on λ of single layers (Fig. 2a), see `gates_scaled`."""

    def __post_init__(self) -> None:
        require_whole("num_inference_steps", self.num_inference_steps)
        for name in ("height", "width", "frame_stride", "conditioning_fps"):
            if getattr(self, name) is not None:
                require_whole(name, getattr(self, name))
        _require_within("guidance_scale", self.guidance_scale, 0, math.inf)
        if self.image_guidance_scale is not None:
            _require_within("image_guidance_scale", self.image_guidance_scale, 0, math.inf)
        _require_within("guidance_rescale", self.guidance_rescale, 0, 1)
        _require_within("eta", self.eta, 0, 1)
        if self.frame_stride is not None and self.conditioning_fps is not None:
            raise InputError(
                f"frame_stride is {self.frame_stride} and conditioning_fps "
                f"{self.conditioning_fps}; a model knows one of them, so give that one."
            )
        object.__setattr__(self, "gate_scales", MappingProxyType(dict(self.gate_scales)))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what `as_json` gave.  Raises InputError for anything else."""
        try:
            scales = {int(k) if str(k).isdecimal() else k: v
                      for k, v in values.get("gate_scales", {}).items()}  # fmt: skip
            return cls(**{**values, "gate_scales": scales})
        except (TypeError, AttributeError) as error:
            raise InputError(f"The recorded settings are damaged: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {"gate_scales": {str(k): v for k, v in self.gate_scales.items()}}

    def changed(self, **changes: Any) -> Self:
        """The same with the changes that are not None.  Raises InputError as the constructor."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})

    @property
    def guides_by_image(self) -> bool:
        """Whether image and text have a scale each."""
        own = self.image_guidance_scale
        return own is not None and own != self.guidance_scale

    @property
    def uses_guidance(self) -> bool:
        """Whether predictions without conditions are needed at all."""
        return self.guidance_scale != 1 or self.guides_by_image


def _require_within(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        most = "up" if math.isinf(high) else f"to {high:g}"
        raise InputError(f"{name} is {value}; give a number from {low:g} {most}.")
