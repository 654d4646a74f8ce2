"""Carries out a request with the components of a pipeline, one still or clip after another."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.animatezero.checks import drawing_identity
from stillmotion.animatezero.pixels import from_pixels, to_pixels
from stillmotion.animatezero.requests import Clip, Run, Ticker
from stillmotion.animatezero.sampling import (
    Denoiser,
    animate_latents,
    draw_trajectory,
    photograph_trajectory,
)
from stillmotion.animatezero.settings import SamplingSettings
from stillmotion.animatezero.still import Still
from stillmotion.errors import InputError

_DECODE_CHUNK_SIZE = 8


@dataclass(frozen=True)
class Runner:
    """A pipeline at work on one request; `sampling` has its height and width filled in."""

    pipe: Any
    sampling: SamplingSettings
    tick: Ticker
    _embeds: dict[str, Tensor] = field(default_factory=dict)

    def draw(self, prompt: str, generator: torch.Generator) -> Still:
        """One still, from the next noise that `generator` gives."""
        return self._draw(prompt, self._noise(generator), generator)

    def animate(self, clip: Clip, run: Run) -> tuple[Tensor, NDArray[np.uint8] | None]:
        """Latents (1 c f h w) and frames uint8 (f h w 3) of one clip; no frames if not decoded.

        `clip.generator` gives the noise of the still, whether drawn here or not, then that of the
        frames; a seed thus means the same however the clip is asked for.
        """
        still, still_noise = clip.still, self._noise(clip.generator)
        if still is None and run.control.needs_trajectory:
            still = self._draw(clip.prompt, still_noise, clip.generator)
        noise = self._frame_noise(clip, run.num_frames)
        num_rows = run.num_frames + int(run.control.needs_reference_row)
        denoiser = self._denoiser(clip.prompt, num_rows, clip.generator)
        trajectory = None
        if still is not None and run.control.needs_trajectory:
            trajectory = self._trajectory(still, still_noise, denoiser.scheduler)

        def on_step(index: int, timestep: Tensor, latents: Tensor) -> Tensor:
            self.tick()
            if run.callback is None:
                return latents
            given = run.callback(self.pipe, index, timestep, {"latents": latents})
            return (given or {}).get("latents", latents)

        z_0 = animate_latents(denoiser, noise, trajectory, run.control, on_step)
        return z_0, self._frames(z_0, still, run) if run.decode else None

    def _draw(self, prompt: str, noise: Tensor, generator: torch.Generator) -> Still:
        def on_step(index: int, timestep: Tensor, latents: Tensor) -> Tensor:
            self.tick()
            return latents

        denoiser = self._denoiser(prompt, 1, generator)
        trajectory = draw_trajectory(denoiser, noise, on_step)
        now = drawing_identity(self.pipe, denoiser.scheduler)
        return Still(
            image=self._decode(trajectory[-1:].unsqueeze(2))[0],
            latents=trajectory.float().cpu(),
            timesteps=now.timesteps,
            prompt=prompt,
            settings=self.sampling,
            model={"name": now.model_name, "fingerprint": now.model_fingerprint},
            scheduler_fingerprint=now.scheduler_fingerprint,
        )

    def _denoiser(self, prompt: str, num_rows: int, generator: torch.Generator) -> Denoiser:
        scheduler = copy.deepcopy(self.pipe.scheduler)
        scheduler.set_timesteps(self.sampling.num_inference_steps, device=self._device)
        return Denoiser(
            unet=self.pipe.unet,
            scheduler=scheduler,
            prompt_embeds=self._encode(prompt).repeat_interleave(num_rows, dim=0),
            guidance_scale=self.sampling.guidance_scale,
            uses_guidance=self.sampling.uses_guidance,
            step_options=self.pipe.prepare_extra_step_kwargs(generator, 0.0),
        )

    def _encode(self, prompt: str) -> Tensor:
        """(2 n d), unconditional first, or (1 n d) without guidance."""
        if prompt not in self._embeds:
            embeds, negative = self.pipe.encode_prompt(
                prompt,
                self._device,
                1,
                self.sampling.uses_guidance,
                self.sampling.negative_prompt,
            )
            self._embeds[prompt] = (
                torch.cat([negative, embeds]) if self.sampling.uses_guidance else embeds
            )
        return self._embeds[prompt]

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.pipe._execution_device
        return device

    def _latent_shape(self, *frames: int) -> tuple[int, ...]:
        assert self.sampling.height is not None
        assert self.sampling.width is not None
        factor = self.pipe.vae_scale_factor
        channels = self.pipe.unet.config.in_channels
        return (1, channels, *frames, self.sampling.height // factor, self.sampling.width // factor)

    def _noise(self, generator: torch.Generator, *frames: int) -> Tensor:
        """(1 c h w), or (1 c f h w) for `frames` = f; drawn in float32 where the generator is."""
        noise = torch.randn(
            self._latent_shape(*frames), generator=generator, device=generator.device
        )
        return noise.to(self._device, self.pipe.text_encoder.dtype)

    def _frame_noise(self, clip: Clip, num_frames: int) -> Tensor:
        if clip.noise is None:
            return self._noise(clip.generator, num_frames)
        if clip.noise.shape != self._latent_shape(num_frames):
            raise InputError(
                f"latents has shape {tuple(clip.noise.shape)} for each clip; it must be "
                f"{self._latent_shape(num_frames)}."
            )
        return clip.noise.to(self._device, self.pipe.text_encoder.dtype)

    def _trajectory(self, still: Still, noise: Tensor, scheduler: Any) -> Tensor:
        """The still's own latents, or for a photograph those made with one fixed `noise`."""
        if still.latents is not None:
            return still.latents.to(noise)
        vae = self.pipe.vae
        image = from_pixels(still.image).to(self._device, vae.dtype)
        z_0 = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
        return photograph_trajectory(scheduler, z_0.to(noise), noise)

    def _frames(self, z_0: Tensor, still: Still | None, run: Run) -> NDArray[np.uint8]:
        """Decoded frames; the first is the still itself if its latents were inserted."""
        if still is None or not run.control.insert_latents:
            return self._decode(z_0)
        if run.num_frames == 1:
            return still.image[None]
        return np.concatenate([still.image[None], self._decode(z_0[:, :, 1:])])

    def _decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """(1 c f h w) -> uint8 (f h w 3)."""
        with torch.inference_mode():
            decoded: Tensor = self.pipe.decode_latents(latents, _DECODE_CHUNK_SIZE)
            return to_pixels(decoded[0].transpose(0, 1))
