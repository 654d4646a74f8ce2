"""What a clip is made under, computed once: text, image tokens, detail guidance, pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.dynamicrafter.clip_image import clip_input
from stillmotion.dynamicrafter.detail_guidance import repeated, two_ends
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
        detail = None
        if ends:
            first, last = self.latent(ends[0]), self.latent(ends[-1])
            is_open = len(ends) == 1
            detail = repeated(first, num_frames) if is_open else two_ends(first, last, num_frames)
        told = None if pace is None else torch.tensor([pace], device=self.device)
        return Conditions(branches=self._branches(prompt, ends, settings), detail=detail, pace=told)

    def _branches(
        self, prompt: str, ends: tuple[NDArray[np.uint8], ...], settings: DynamiCrafterSettings
    ) -> tuple[Branch, ...]:
        image = self.image_tokens(from_pixels(ends[0])) if ends else None
        full = Branch(text=self.text(prompt), image=image)
        if not settings.uses_guidance:
            return (full,)
        negative = self.text(settings.negative_prompt)
        blank = self.image_tokens(torch.zeros_like(from_pixels(ends[0]))) if ends else None
        nothing = Branch(text=negative, image=blank)
        if ends and settings.guides_by_image:
            return (nothing, Branch(text=negative, image=image), full)
        return (nothing, full)

    def text(self, words: str) -> Tensor:
        """(1 n d), padded as the text encoder was trained: its configuration says with what."""
        encoder, tokenizer = self.pipe.text_encoder, self.pipe.tokenizer
        length = encoder.config.max_position_embeddings
        ids = tokenizer(words, truncation=True, max_length=length).input_ids
        padded = ids + [encoder.config.pad_token_id] * (length - len(ids))
        embeddings: Tensor = encoder(torch.tensor([padded], device=self.device))[0]
        return embeddings.to(self.pipe.unet.dtype)

    def image_tokens(self, image: Tensor) -> Tensor:
        """A picture (1 3 h w) in -1..1 -> its tokens for each frame (1 t m d)."""
        encoder = self.pipe.image_encoder
        shown = clip_input(image.to(self.device), encoder.config.image_size)
        seen = encoder(shown.to(encoder.dtype)).last_hidden_state
        tokens: Tensor = self.pipe.image_context(seen.to(self.pipe.image_context.dtype))
        return tokens.to(self.pipe.unet.dtype)

    def latent(self, picture: NDArray[np.uint8]) -> Tensor:
        """A picture (h w 3) -> its latent (1 c h w), the mode of the VAE's posterior, scaled."""
        vae = self.pipe.vae
        pixels = from_pixels(picture).to(self.device, vae.dtype)
        z: Tensor = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        return z.to(self.pipe.unet.dtype)
