"""Clips as the paper's loss wants them: latents, captions, pictures as CLIP sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from stillmotion.dynamicrafter.encoders import clip_tokens, scaled_latents, text_embeddings
from stillmotion.dynamicrafter.settings import PaceKind
from stillmotion.dynamicrafter.training import Clips
from stillmotion.finetuning.beginnings import Frozen
from stillmotion.finetuning.request import WORLD, TrainingOptions
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.clips.drawing import DrawnClips
from stillmotion.training.clips.files import open_clips
from stillmotion.training.clips.samples import ClipBatch, ClipSettings, ClipSource, to_video
from stillmotion.training.clips.world import WorldClips, WorldSettings

_CHUNK = 8
"""Pictures that the VAE encodes at once."""
_SCENES = 1 << 20
_WORLD_FPS = 8.0


def clip_source(
    clips: str, options: TrainingOptions, size: tuple[int, int], frames: int, *, single: bool
) -> ClipSource:
    """The clips of a list or of the world, cut to samples.

    Args:
        clips: as in `StageRequest`.
        options: strides, seed, and whether damaged clips are passed over.
        size: height and width in pixels.
        frames: of a clip.
        single: whether a sample is one frame, from anywhere in a clip of as many.

    Raises:
        InputError: the list cannot be read.
    """
    settings = ClipSettings(
        height=size[0], width=size[1], num_frames=1 if single else frames,
        min_stride=options.min_stride, max_stride=options.max_stride,
    )  # fmt: skip
    if clips != WORLD:
        return open_clips(clips, settings, skip_damaged=options.skip_damaged)
    # At the largest stride a sample shows a scene's whole motion, at eight frames per second.
    stride = options.max_stride
    world = WorldSettings(
        count=_SCENES, seed=derive_seed(options.seed, WORLD),
        length=stride * (frames - 1) + 1, fps=stride * _WORLD_FPS,
    )  # fmt: skip
    return WorldClips(world, settings)


class EncodedClips:
    """A `Source` for DynamiCrafter's stages: clips are decoded and encoded as they are drawn.

    Which clips a batch holds follows from the loop's generator alone (`training.clips.drawing`).
    """

    def __init__(
        self, drawn: DrawnClips, frozen: Frozen, device: torch.device, pace_kind: PaceKind | None
    ) -> None:
        """`pace_kind` is what the network is told of how fast clips move."""
        self.drawn, self._frozen, self._device = drawn, frozen, device
        self._pace_kind = pace_kind
        # Computed on first use: not every stage needs both.
        self._no_text: Tensor | None = None
        self._no_image: Tensor | None = None

    @property
    def no_text(self) -> Tensor:
        """Embedding of the empty caption (1 n d)."""
        if self._no_text is None:
            self._no_text = self._text([""])
        return self._no_text

    @property
    def no_image(self) -> Tensor:
        """CLIP's tokens of grey (1 k e).  Grey of any size looks the same to CLIP."""
        if self._no_image is None:
            side = self._frozen.image_encoder.config.image_size
            self._no_image = self._tokens(torch.zeros(1, 3, side, side))
        return self._no_image

    def foresee(self, seeds: Iterator[int]) -> None:
        """Let workers read the batches of the generators of these seeds ahead."""
        self.drawn.foresee(seeds)

    def batch(self, size: int, generator: torch.Generator) -> Clips:
        """The batch of a generator.  Raises InputError for a clip that cannot be used."""
        with self._own_precision():  # as in workers: the world is computed, too
            given = self.drawn.batch(generator)
        assert len(given.captions) == size, "the batch of DrawnClips is that of the stage"
        # Kept as bytes: of the frames only one is shown to CLIP.
        frames = given.frames

        def tokens_of(numbers: Tensor) -> Tensor:
            return self._tokens(_pictures(frames[torch.arange(size), numbers]))

        return Clips(
            latents=self._latents(frames),
            text=self._text(given.captions),
            clip_tokens=tokens_of,
            pace=self._pace(given),
        )

    def _pace(self, given: ClipBatch) -> Tensor | None:
        if self._pace_kind is None:
            return None
        is_stride = self._pace_kind == "frame_stride"
        return given.frame_strides if is_stride else given.conditioning_fps

    @torch.no_grad()
    def _latents(self, frames: Tensor) -> Tensor:
        """Frames uint8 (b f 3 h w) -> (b c f h w)."""
        with self._own_precision():
            parts = [
                scaled_latents(_pictures(part.to(self._device)), self._frozen.vae, self._device)
                for part in frames.flatten(0, 1).split(_CHUNK)
            ]
        latents = torch.cat(parts).float()
        batch, num_frames = frames.shape[:2]
        clips: Tensor = latents.unflatten(0, (batch, num_frames)).transpose(1, 2)
        # The VAE may leave channels last, and torch 2.13 has no safe gradient on a CPU for
        # convolutions over frames of such clips: it ends the process.
        return clips.contiguous()

    @torch.no_grad()
    def _text(self, captions: tuple[str, ...] | list[str]) -> Tensor:
        frozen = self._frozen
        with self._own_precision():
            text = text_embeddings(captions, frozen.tokenizer, frozen.text_encoder, self._device)
        return text.float()

    @torch.no_grad()
    def _tokens(self, pictures: Tensor) -> Tensor:
        with self._own_precision():
            tokens = clip_tokens(
                pictures.to(self._device), self._frozen.image_encoder, self._device
            )
        return tokens.float()

    def _own_precision(self) -> AbstractContextManager[None]:
        """Without the loop's mixed precision: these networks have one of their own."""
        context: AbstractContextManager[None] = torch.autocast(self._device.type, enabled=False)
        return context


def _pictures(frames: Tensor) -> Tensor:
    """uint8 (n 3 h w) -> float32 in -1..1."""
    return to_video(frames[:, None])[:, :, 0]
