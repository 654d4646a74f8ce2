"""Clips of every look for the miniature DynamiCrafter and the text-to-video model it begins as."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPVisionModel

from stillmotion.dynamicrafter.encoders import clip_tokens
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.training import Clips
from stillmotion.miniature import data
from stillmotion.miniature.text_to_image import TextConditioner
from stillmotion.miniature.vae import encode_images
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.motion import progress
from stillmotion.world.render import render_at
from stillmotion.world.scene import Scene, sample_scene

#: Frame strides and how often a clip has them.  At the largest a clip shows the whole motion, at
#: the others so many parts of it: fewer frames of the source lie between two of the clip.
STRIDES = {1: 0.15, 2: 0.25, 3: 0.6}
FULL_STRIDE = max(STRIDES)
#: Parts of the captions that name the motion and the look.
NAMED_MOTION, NAMED_LOOK = 0.9, 0.9
#: How a clip moves is decided while it is noisy, and text says it there alone: later every frame
#: shows its place.
VIDEO_NOISY_BIAS = 0.5
#: Where in a run folder the latents of the clips lie.
LATENTS_FILE = Path("data") / "latents-videos.safetensors"


@dataclass(frozen=True)
class VideoScene:
    """A clip of the world: what moves, and how many frames of the source each step skips."""

    scene: Scene
    stride: int

    def frames(self, num_frames: int, size: int, *numbers: int) -> Tensor:
        """Rendered frames uint8 (n 3 h w); all, or those of the given `numbers` from 0."""
        moments = progress(self.scene, num_frames) * self.stride / FULL_STRIDE
        wanted = moments[list(numbers)] if numbers else moments
        return data.to_uint8(render_at(self.scene, wanted, size).frames)


def video_scene(seed: int, index: int) -> VideoScene:
    """Clip `index` of a seed, in any look."""
    rng = random.Random(derive_seed(seed, "video", index))
    [stride] = rng.choices(list(STRIDES), list(STRIDES.values()))
    return VideoScene(sample_scene(rng), stride)


def build_video_scheduler() -> DynamiCrafterScheduler:
    """As the 512 model has it: v, zero terminal SNR, trailing steps; without rescaling."""
    scheduler: DynamiCrafterScheduler = DynamiCrafterScheduler(
        prediction_type="v_prediction", zero_terminal_snr=True, timestep_spacing="trailing"
    )
    return scheduler


class VideoNoising:
    """Noise and targets of the video models' own schedule, for their image model as well.

    So nothing has to be learned anew when that becomes the video model.  Timesteps are u ** bias
    of the schedule, u uniform: below 1, noisy ones are drawn more often.
    """

    def __init__(self, bias: float = 1.0) -> None:
        self._scheduler, self._bias = build_video_scheduler(), bias

    def training_timesteps(self, num_samples: int, generator: torch.Generator) -> Tensor:
        """Timesteps to train at: int64 (num_samples)."""
        span = int(self._scheduler.config.num_train_timesteps)
        share = torch.rand(num_samples, generator=generator, dtype=torch.float64) ** self._bias
        return (share * span).long()

    def noised(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """z_t, as the scheduler has it."""
        return self._scheduler.noised(z_0, noise, timesteps)

    def target(self, z_0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v, as the scheduler has it."""
        return self._scheduler.target(z_0, noise, timesteps)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents and targets of the shape (b ...) of `clean`, and timesteps (b)."""
        timesteps = self.training_timesteps(len(clean), generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = self.noised(clean, noise, timesteps)
        return noisy, self.target(clean, noise, timesteps), timesteps


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """How clips are rendered."""

    count: int
    seed: int
    num_frames: int
    size: int


def video_latents(path: Path, vae: AutoencoderKL, form: VideoFormat) -> Tensor:
    """Scaled latents (n f c h w) float16 of the clips of a format, kept at `path`."""

    def make() -> dict[str, Tensor]:
        parts = []
        for index in range(form.count):
            frames = video_scene(form.seed, index).frames(form.num_frames, form.size)
            parts.append((encode_images(vae, frames) * vae.config.scaling_factor).half())
        return {"latents": torch.stack(parts)}

    return data.cached(path, form.count, make)["latents"]


class VideoSource:
    """Batches for DynamiCrafter's stages: latents from memory, pictures rendered when asked for."""

    def __init__(
        self,
        latents: Tensor,
        form: VideoFormat,
        conditioner: TextConditioner,
        encoder: CLIPVisionModel | None,
    ) -> None:
        """`latents` (n f c h w) are of the format's clips; `encoder` may be None for the base."""
        self._latents, self._form, self._conditioner = latents, form, conditioner
        self._encoder = None if encoder is None else encoder.eval().requires_grad_(False)
        self._scenes = [video_scene(form.seed, index) for index in range(len(latents))]
        # Computed on first use: neither is needed by every stage.
        self._no_image: Tensor | None = None

    @property
    def no_text(self) -> Tensor:
        """Embedding of the empty caption (1 n d)."""
        return self._conditioner.embed([""])

    @property
    def no_image(self) -> Tensor:
        """CLIP's tokens of grey (1 k e); none for a source without an encoder."""
        if self._no_image is None:
            grey = torch.zeros(1, 3, self._form.size, self._form.size)
            self._no_image = self._tokens(grey)
        return self._no_image

    def batch(self, size: int, generator: torch.Generator) -> Clips:
        """`size` clips, drawn with replacement."""
        index = data.sample_indices(len(self._scenes), size, generator)
        chosen = [self._scenes[i] for i in index.tolist()]

        def tokens_of(numbers: Tensor) -> Tensor:
            pictures = [
                one.frames(self._form.num_frames, self._form.size, number)
                for one, number in zip(chosen, numbers.tolist(), strict=True)
            ]
            return self._tokens(data.to_model_range(torch.cat(pictures)))

        return Clips(
            latents=self._latents[index].float().transpose(1, 2),
            text=self._conditioner(
                [one.scene for one in chosen], generator, domain=NAMED_LOOK, motion=NAMED_MOTION
            ),
            clip_tokens=tokens_of,
            pace=torch.tensor([one.stride for one in chosen]),
        )

    @torch.no_grad()
    def _tokens(self, pictures: Tensor) -> Tensor:
        assert self._encoder is not None
        return clip_tokens(pictures, self._encoder, self._encoder.device).float()
