"""Where contenders meet: networks with their weights, and the clip that each is to make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.runtime.compiling import Compiling, compiling_for

_NETWORKS = ("unet", "vae", "text_encoder", "image_encoder", "image_context")


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """The clip that is made."""

    prompt: str = "a red circle moves to the right"
    num_frames: int = 16
    height: int
    width: int
    guidance_scale: float = 7.5
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.num_frames} frames of {self.height} x {self.width}"


@dataclass(frozen=True, kw_only=True)
class ClipStage:
    """A pipeline that draws a still and animates it."""

    pipe: Any
    """An AnimateZeroPipeline."""
    clip: ClipSpec

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.pipe.unet.device)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(1 c f h w)."""
        return _latent_shape(self.pipe, self.clip, self.pipe.unet.config.in_channels)

    def sampling(self, num_steps: int, **changes: Any) -> SamplingSettings:
        """For the pipeline, in so many steps."""
        values: dict[str, Any] = {
            "num_inference_steps": num_steps,
            "guidance_scale": self.clip.guidance_scale,
            "height": self.clip.height,
            "width": self.clip.width,
        }
        return SamplingSettings(**{**values, **changes})


@dataclass(frozen=True, kw_only=True)
class VideoStage:
    """A pipeline that animates a picture."""

    pipe: Any
    """A DynamiCrafterPipeline."""
    clip: ClipSpec
    guidance_rescale: float

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return torch.device(self.pipe.unet.device)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(1 c f h w)."""
        return _latent_shape(self.pipe, self.clip, self.pipe.unet.config.out_channels)

    @property
    def picture(self) -> NDArray[np.uint8]:
        """What is animated, (h w 3): noise, since what it shows costs nothing."""
        shape = (self.clip.height, self.clip.width, 3)
        rng = np.random.default_rng(self.clip.seed)
        return rng.integers(0, 256, shape, np.uint8)

    def settings(self, num_steps: int, **changes: Any) -> DynamiCrafterSettings:
        """For the pipeline, in so many steps, with the published scripts' fresh noise."""
        values: dict[str, Any] = {
            "num_inference_steps": num_steps,
            "guidance_scale": self.clip.guidance_scale,
            "guidance_rescale": self.guidance_rescale,
            "height": self.clip.height,
            "width": self.clip.width,
        }
        return DynamiCrafterSettings(**{**values, **changes})


def stage_compiling(stage: ClipStage | VideoStage) -> Compiling:
    """How `--compile` compiles for the clip of a stage, with both halves of guidance."""
    _, _, frames, height, width = stage.latent_shape
    return compiling_for(stage.device, 2 * frames * height * width)


def networks_of(pipe: Any) -> tuple[Any, ...]:
    """All networks that a pipeline has."""
    found = (getattr(pipe, name, None) for name in _NETWORKS)
    return tuple(network for network in found if network is not None)


def _latent_shape(pipe: Any, clip: ClipSpec, channels: int) -> tuple[int, ...]:
    factor = pipe.vae_scale_factor
    return (1, channels, clip.num_frames, clip.height // factor, clip.width // factor)
