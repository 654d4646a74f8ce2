"""Carries out a request with the components of a pipeline, one still or clip after another."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.adapters.text_encoder import encode_prompt
from stillmotion.animatezero.anchors import Anchor, DrawnAnchor
from stillmotion.animatezero.checks import drawing_identity, size_of
from stillmotion.animatezero.denoiser import Denoiser
from stillmotion.animatezero.guide import FrameControl
from stillmotion.animatezero.pacing import DENSITY, dense_count, even_frames
from stillmotion.animatezero.photograph import photograph_latents
from stillmotion.animatezero.preview import predicted_clean
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.requests import Clip, Prompt, Run, Setup, Ticker
from stillmotion.animatezero.sampling import (
    Hooks,
    Start,
    Step,
    animate_latents,
    draw_trajectory,
)
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import speed_of
from stillmotion.errors import InputError
from stillmotion.media.lost_detail import with_lost_detail
from stillmotion.media.pixels import from_pixels
from stillmotion.media.still import Still
from stillmotion.models.decoding import decode
from stillmotion.models.motion_files import version_of
from stillmotion.runtime.compiling import Compiling, compiling_of


@dataclass(frozen=True)
class Runner:
    """A pipeline at work on one request; `sampling` has its height and width filled in."""

    pipe: Any
    sampling: SamplingSettings
    tick: Ticker
    setup: Setup
    _embeds: dict[str, Tensor] = field(default_factory=dict)
    _inverted: dict[tuple[int, str, int], Tensor] = field(default_factory=dict)

    def draw(self, prompt: str, generator: torch.Generator) -> Still:
        """One still, from the next noise that `generator` gives."""
        return self._draw(prompt, self._noise(generator), generator)

    def animate(self, clip: Clip, run: Run) -> tuple[Tensor, NDArray[np.uint8] | None]:
        """Latents (1 c f h w) and frames uint8 (f h w 3) of one clip; no frames if not decoded."""
        if not run.control.even_pace or clip.last is None:
            return self._animate(clip, run)
        # The pace is that of the pixels, so they are decoded in any case.
        dense = replace(run, num_frames=dense_count(run.num_frames), decode=True)
        if isinstance(clip.prompt, PromptTrack):
            clip = replace(clip, prompt=clip.prompt.stretched(DENSITY))
        z_0, frames = self._animate(clip, dense)
        assert frames is not None
        kept = even_frames(frames, run.num_frames)
        return z_0[:, :, kept], frames[kept] if run.decode else None

    def _animate(self, clip: Clip, run: Run) -> tuple[Tensor, NDArray[np.uint8] | None]:
        """All frames that are made.

        `clip.generator` gives the noise of the still, whether drawn here or not, then that of the
        frames; a seed thus means the same however the clip is asked for.
        """
        still, still_noise = clip.still, self._noise(clip.generator)
        beside = run.draws_beside(clip)
        if still is None and run.control.needs_trajectory and not beside:
            still = self._draw(_words_at_ends(clip.prompt)[0], still_noise, clip.generator)
        ends = ((0, still), (run.num_frames - 1, clip.last))
        given = {frame: one for frame, one in ends if one is not None}
        references = [0] if beside else [*given] if run.control.needs_reference_row else []
        rows = [*references, *range(run.num_frames)]
        noise = self._frame_noise(clip, run.num_frames)
        denoiser = self._denoiser(clip.prompt, rows, clip.generator)
        anchors: list[Anchor | DrawnAnchor] = []
        if beside:
            anchors = [DrawnAnchor(still_noise * denoiser.scheduler.init_noise_sigma)]
        elif run.control.needs_trajectory:
            anchors = [*self._anchors(given, still_noise, clip)]
        start = Start(
            noise=noise,
            more_noise=lambda: self._noise(clip.generator, run.num_frames),
            anchors=anchors,
            # Texts along the clip can ask for another light.
            keeps_colours=isinstance(clip.prompt, str) or clip.prompt.is_constant,
            norms_across_frames=version_of(self.pipe.unet) == "v1",
        )
        z_0 = animate_latents(denoiser, start, run.control, self._hooks(run, denoiser.scheduler))
        return z_0, self._frames(z_0, given, run) if run.decode else None

    def _hooks(self, run: Run, scheduler: Any) -> Hooks:
        def on_step(step: Step) -> Tensor:
            if run.on_preview is not None:
                clean = predicted_clean(scheduler, step.prediction, step.z_t, step.timestep)
                run.on_preview(step.index, clean)
            if run.callback is None:
                return step.latents
            kept = {"latents": step.latents}
            given = run.callback(self.pipe, step.index, step.timestep, kept)
            return (given or {}).get("latents", step.latents)

        return Hooks(self.tick, on_step if run.callback or run.on_preview else None)

    def _draw(self, prompt: str, noise: Tensor, generator: torch.Generator) -> Still:
        denoiser = self._denoiser(prompt, [0], generator)
        trajectory = draw_trajectory(denoiser, noise, Hooks(self.tick))
        now = drawing_identity(self.pipe, denoiser.scheduler)
        return Still(
            image=self._decode(trajectory[-1:].unsqueeze(2))[0],
            latents=trajectory.float().cpu(),
            timesteps=now.timesteps,
            prompt=prompt,
            settings=self.sampling,
            model={"name": now.model_name, "fingerprint": now.model_fingerprint},
            scheduler_fingerprint=now.scheduler_fingerprint,
            speed=denoiser.speed,
        )

    def _denoiser(self, prompt: Prompt, rows: list[int], generator: torch.Generator) -> Denoiser:
        """`rows`: the frame of the clip that each row of the U-Net's batch belongs to."""
        scheduler = copy.deepcopy(self.pipe.scheduler)
        scheduler.set_timesteps(self.sampling.num_inference_steps, device=self._device)
        guide = self.setup.guide
        return Denoiser(
            unet=self.pipe.unet,
            scheduler=scheduler,
            prompt_embeds=self._row_embeds(prompt, rows),
            guidance_scale=self.sampling.guidance_scale,
            uses_guidance=self.sampling.uses_guidance,
            step_options=self.pipe.prepare_extra_step_kwargs(generator, 0.0),
            control=FrameControl(guide, rows, scheduler.timesteps) if guide else None,
            image_embeds=self.setup.image_embeds,
            sequential_guidance=self.setup.memory.sequential_guidance,
            savings=self.setup.savings,
            compiling=self._compiling(len(rows)),
            one_text=isinstance(prompt, str),
            speed=speed_of(self.setup.speed),
        )

    def _compiling(self, num_rows: int) -> Compiling | None:
        """As the request says, else as the pipeline was loaded for."""
        choice = self.setup.compiling or self.pipe.compiling
        at_once = self.sampling.uses_guidance and not self.setup.memory.sequential_guidance
        height, width = self._latent_shape()[-2:]
        return compiling_of(choice, self._device, (1 + int(at_once)) * num_rows * height * width)

    def _row_embeds(self, prompt: Prompt, rows: list[int]) -> Tensor:
        """((g r) n d) for the rows of the U-Net's batch, unconditional half first."""
        if isinstance(prompt, str):
            return self._encode(prompt).repeat_interleave(len(rows), dim=0)
        embeds = {text: self._encode(text) for text in prompt.texts.values()}
        halves = [
            prompt.blend({text: both[half] for text, both in embeds.items()}, max(rows) + 1)[rows]
            for half in range(1 + int(self.sampling.uses_guidance))
        ]
        return torch.cat(halves)

    def _encode(self, prompt: str) -> Tensor:
        """(2 n d), unconditional first, or (1 n d) without guidance."""
        if prompt not in self._embeds:
            self._embeds[prompt] = encode_prompt(
                self.pipe,
                prompt,
                self.sampling.negative_prompt,
                uses_guidance=self.sampling.uses_guidance,
                clip_skip=self.sampling.clip_skip,
            )
        return self._embeds[prompt]

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.pipe._execution_device
        return device

    def _latent_shape(self, *frames: int) -> tuple[int, ...]:
        factor = self.pipe.vae_scale_factor
        channels = self.pipe.unet.config.in_channels
        return (1, channels, *frames, *(side // factor for side in size_of(self.sampling)))

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

    def _anchors(self, given: dict[int, Still], noise: Tensor, clip: Clip) -> Iterator[Anchor]:
        """The stills that are given for some frames, with latents; `noise` for photographs'."""
        words = _words_at_ends(clip.prompt)
        for frame, still in given.items():
            # Without a guide all frames of a text are alike, and a loop is inverted once.
            place = (words[frame > 0], frame if self.setup.guide else 0)
            yield Anchor(frame, self._trajectory(still, noise, place, clip))

    def _trajectory(
        self, still: Still, noise: Tensor, place: tuple[str, int], clip: Clip
    ) -> Tensor:
        """The still's own latents, or for a photograph those that the settings ask for.

        `place` is the text and the number of its frame.
        """
        if still.latents is not None:
            return still.latents.to(noise)
        settings = self.setup.photograph
        predictions = settings.num_predictions(self.sampling.num_inference_steps)
        # An inversion takes as long as a drawing, and is the same for every clip of a still.
        if predictions and (id(still), *place) in self._inverted:
            for _ in range(predictions):
                self.tick()
            return self._inverted[id(still), *place]
        vae = self.pipe.vae
        image = from_pixels(still.image).to(self._device, vae.dtype)
        z_0 = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
        denoiser = self._denoiser(place[0], [place[1]], clip.generator)
        latents = photograph_latents(denoiser, z_0.to(noise), noise, settings, self.tick)
        if predictions:
            self._inverted[id(still), *place] = latents
        return latents

    def _frames(self, z_0: Tensor, given: dict[int, Still], run: Run) -> NDArray[np.uint8]:
        """Decoded frames; those whose latents were inserted are the stills themselves."""
        if not run.control.insert_latents:
            return self._decode(z_0)
        drawn = {n: still.image for n, still in given.items() if still.latents is not None}
        photographs = {n: still.image for n, still in given.items() if still.latents is None}
        if self.setup.photograph.first_frame != "photograph":
            photographs = {}
        # A drawn still is what its latents decode to; what a photograph lost is seen by decoding.
        restores = bool(photographs) and run.control.drift_correction
        pasted = drawn if restores else drawn | photographs
        decoded = [frame for frame in range(run.num_frames) if frame not in pasted]
        frames = np.empty((run.num_frames, *size_of(self.sampling), 3), np.uint8)
        if decoded:
            frames[decoded] = self._decode(z_0[:, :, decoded])
        for frame, image in pasted.items():
            frames[frame] = image
        return with_lost_detail(frames, drawn | photographs) if restores else frames

    def _decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """(1 c f h w) -> uint8 (f h w 3)."""
        return decode(self.pipe.vae, latents, self.setup.memory.decode_chunk)


def _words_at_ends(prompt: Prompt) -> tuple[str, str]:
    """The texts of the first and of the last frame."""
    return (prompt, prompt) if isinstance(prompt, str) else (prompt.first, prompt.last)
