"""What the networks around the U-Net make of words and pictures, in training as in sampling.

Shapes: n words or pictures, t text tokens and k CLIP tokens with d and e channels.  Networks
compute in their own precision, which the results keep, on a device that is given: a pipeline can
keep its networks elsewhere than where they run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillmotion.dynamicrafter.clip_image import clip_input


def text_embeddings(
    words: Sequence[str], tokenizer: Any, text_encoder: Any, device: torch.device
) -> Tensor:
    """Texts -> (n t d), padded with what the text encoder's configuration says."""
    length = text_encoder.config.max_position_embeddings
    ids = tokenizer(list(words), truncation=True, max_length=length).input_ids
    padding = text_encoder.config.pad_token_id
    padded = [each + [padding] * (length - len(each)) for each in ids]
    embeddings: Tensor = text_encoder(torch.tensor(padded, device=device))[0]
    return embeddings


def clip_tokens(pictures: Tensor, image_encoder: Any, device: torch.device) -> Tensor:
    """Pictures (n 3 h w) in -1..1 -> CLIP's tokens of each (n k e), the class token first."""
    shown = clip_input(pictures.to(device), image_encoder.config.image_size)
    tokens: Tensor = image_encoder(shown.to(image_encoder.dtype)).last_hidden_state
    return tokens


def scaled_latents(pictures: Tensor, vae: Any, device: torch.device) -> Tensor:
    """Pictures (n 3 h w) in -1..1 -> (n c h w), the mode of the VAE's posterior, scaled."""
    pixels = pictures.to(device, vae.dtype)
    latents: Tensor = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
    return latents
