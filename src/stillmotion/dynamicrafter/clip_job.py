"""One clip from the networks of a pipeline: conditions, denoising, decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.adapters.lean_savings import Savings
from stillmotion.diffusion.speed import EXACT, SpeedSettings
from stillmotion.dynamicrafter.conditioning import Conditioner, Pace
from stillmotion.dynamicrafter.sampling import Denoiser, sample_clip
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.media.lost_detail import with_lost_detail
from stillmotion.models.decoding import decode
from stillmotion.runtime.compiling import OFF, Compiling, compiling_of
from stillmotion.runtime.memory import MemoryPlan

Picture = NDArray[np.uint8]
"""RGB (h w 3)."""


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip."""

    pipe: Any
    """A DynamiCrafterPipeline."""
    settings: DynamiCrafterSettings
    ends: tuple[Picture, ...]
    """The picture, and the last frame if it is given, in the clip's size; none of text alone."""
    num_frames: int
    size: tuple[int, int]
    """(height, width) in pixels."""
    memory: MemoryPlan
    on_step: Callable[[int, Tensor], None]
    """Called after each step with its index and what the network takes z_0 to be."""
    speed: SpeedSettings = EXACT
    savings: Savings = field(default_factory=Savings)
    compiling: Compiling | str = OFF

    def run(self, prompt: str, rng: torch.Generator) -> tuple[Picture, Tensor]:
        """Frames uint8 (f h w 3) and latents (1 c f h w)."""
        pipe, settings = self.pipe, self.settings
        device = pipe._execution_device
        pace = Pace(kind=pipe.config.pace_kind, default=pipe.config.default_pace).of(settings)
        conditions = Conditioner(pipe=pipe, device=device).conditions(
            prompt, self.ends, self.num_frames, settings, pace
        )
        scheduler = DynamiCrafterScheduler.from_config(pipe.scheduler.config)
        steps, start = settings.num_inference_steps, settings.start_timestep
        scheduler.set_timesteps(steps, device=device, start=start)
        denoiser = Denoiser(
            unet=pipe.unet, scheduler=scheduler, conditions=conditions, settings=settings,
            trained_frames=pipe.config.trained_frames,
            sequential_guidance=self.memory.sequential_guidance,
            speed=self.speed,
            savings=self.savings,
            compiling=self._compiling(len(conditions.branches)),
        )  # fmt: skip
        height, width = (side // pipe.vae_scale_factor for side in self.size)
        shape = (1, pipe.unet.config.out_channels, self.num_frames, height, width)

        def noise() -> Tensor:
            # On the host in float32, so that a seed means the same everywhere.
            return torch.randn(shape, generator=rng).to(device, pipe.unet.dtype)

        z_0 = sample_clip(denoiser, self._start(scheduler, noise()), noise, self.on_step)
        frames = decode(pipe.vae, z_0, self.memory.decode_chunk)
        if settings.exact_first_frame and self.ends:
            places = (0, self.num_frames - 1)
            frames = with_lost_detail(frames, dict(zip(places, self.ends, strict=False)))
        return frames, z_0

    def _compiling(self, num_branches: int) -> Compiling | None:
        pipe = self.pipe
        branches = 1 if self.memory.sequential_guidance else num_branches
        frames = min(self.num_frames, pipe.config.trained_frames)
        height, width = (side // pipe.vae_scale_factor for side in self.size)
        return compiling_of(
            self.compiling, pipe._execution_device, branches * frames * height * width
        )

    def _start(self, scheduler: DynamiCrafterScheduler, noise: Tensor) -> Tensor:
        if self.settings.start_timestep is None:
            return noise
        config = self.pipe.config
        mean = torch.tensor(config.latent_mean or [0.0], device=noise.device)
        return scheduler.analytic_start(noise, mean.view(1, -1, 1, 1, 1), config.latent_variance)
