"""What a clip is made under, computed once: text, image tokens, detail guidance, pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.dynamicrafter.detail_guidance import repeated, two_ends
from stillmotion.dynamicrafter.encoders import clip_tokens, scaled_latents, text_embeddings
from stillmotion.dynamicrafter.inflation import has_detail_guidance
from stillmotion.dynamicrafter.sampling import Branch, Conditions
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings, PaceKind
from stillmotion.errors import InputError
from stillmotion.media.pixels import from_pixels


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a network was told of how fast its clips move, and what it is told by default."""

    kind: PaceKind | None
    default: int

    def of(self, settings: DynamiCrafterSettings) -> int | None:
        """The number for the network.  Raises InputError if the other kind is given."""
        for kind in ("frame_stride", "conditioning_fps"):
            if getattr(settings, kind) is not None and kind != self.kind:
                own = f"give {self.kind}" if self.kind else "leave it out"
                raise InputError(f"This model was not trained with {kind}; {own}.")
        if self.kind is None:
            return None
        given: int | None = getattr(settings, self.kind)
        return self.default if given is None else given


@dataclass(frozen=True, kw_only=True)
class Conditioner:
    """The networks that read text and pictures, on one device."""

    pipe: Any
    """With vae, text_encoder, tokenizer, image_encoder and image_context."""
    device: torch.device

    def conditions(
        self,
        prompt: str,
        ends: tuple[NDArray[np.uint8], ...],
        num_frames: int,
        settings: DynamiCrafterSettings,
        pace: int | None,
    ) -> Conditions:
        """For a clip of `num_frames` from the pictures (h w 3) of its `ends`: one, two or none.

        CLIP is shown the first; the VAE sees both.
        """
        detail = self._detail(ends, num_frames, settings)
        told = None if pace is None else torch.tensor([pace], device=self.device)
        return Conditions(branches=self._branches(prompt, ends, settings), detail=detail, pace=told)

    def _detail(
        self,
        ends: tuple[NDArray[np.uint8], ...],
        num_frames: int,
        settings: DynamiCrafterSettings,
    ) -> Tensor | None:
        if not ends or not has_detail_guidance(self.pipe.unet):
            return None
        first, last = self.latent(ends[0]), self.latent(ends[-1])
        is_open = len(ends) == 1
        detail = repeated(first, num_frames) if is_open else two_ends(first, last, num_frames)
        return detail if settings.detail_guidance else torch.zeros_like(detail)

    def _branches(
        self, prompt: str, ends: tuple[NDArray[np.uint8], ...], settings: DynamiCrafterSettings
    ) -> tuple[Branch, ...]:
        image = blank = None
        if ends and self.pipe.image_context is not None:
            picture = from_pixels(ends[0])
            if settings.uses_guidance or not settings.image_context:
                blank = self.image_tokens(torch.zeros_like(picture))
            image = self.image_tokens(picture) if settings.image_context else blank
        full = Branch(text=self.text(prompt), image=image)
        if not settings.uses_guidance:
            return (full,)
        negative = self.text(settings.negative_prompt)
        nothing = Branch(text=negative, image=blank)
        if ends and settings.guides_by_image:
            return (nothing, Branch(text=negative, image=image), full)
        return (nothing, full)

    def text(self, words: str) -> Tensor:
        """(1 n d)."""
        pipe = self.pipe
        embeddings = text_embeddings([words], pipe.tokenizer, pipe.text_encoder, self.device)
        return embeddings.to(pipe.unet.dtype)

    def image_tokens(self, image: Tensor) -> Tensor:
        """A picture (1 3 h w) in -1..1 -> its tokens for each frame (1 t m d)."""
        seen = clip_tokens(image, self.pipe.image_encoder, self.device)
        if self.pipe.config.global_token_only:
            seen = seen[:, :1]
        tokens: Tensor = self.pipe.image_context(seen.to(self.pipe.image_context.dtype))
        return tokens.to(self.pipe.unet.dtype)

    def latent(self, picture: NDArray[np.uint8]) -> Tensor:
        """A picture (h w 3) -> its latent (1 c h w), the mode of the VAE's posterior, scaled."""
        latent = scaled_latents(from_pixels(picture), self.pipe.vae, self.device)
        return latent.to(self.pipe.unet.dtype)
