"""The linear map from latents to colours that previews use, fitted to a VAE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from stillmotion.animatezero.preview import LatentPreview
from stillmotion.miniature.data import to_model_range


def fit_latent_rgb(vae: AutoencoderKL, images: Tensor) -> LatentPreview:
    """Least squares of the mean colour of each latent's pixels on the latent.

    `images` uint8 (n 3 h w) of everything that the VAE is used for; latents are scaled as the
    U-Net sees them.  Raises InputError if there are fewer latents than numbers to be fitted.
    """
    return LatentPreview.fitted(*_samples(vae, images))


def r_squared(preview: LatentPreview, vae: AutoencoderKL, images: Tensor) -> float:
    """Share of the variance of the colours that `preview` explains; 1 is all, at most.

    `images` uint8 (n 3 h w) that it was not fitted to.
    """
    latents, colours = _samples(vae, images)
    shown = preview.colours(latents[:, :, None, None])[:, :, 0, 0]
    residual = (shown - colours).square().sum()
    return float(1 - residual / (colours - colours.mean(0)).square().sum())


@torch.no_grad()
def _samples(vae: AutoencoderKL, images: Tensor, batch: int = 64) -> tuple[Tensor, Tensor]:
    """Latents (m c) and the mean colours in -1..1 (m 3) of their pixels, float64, on the CPU."""
    latents, colours = [], []
    for chunk in images.split(batch):
        pixels = to_model_range(chunk).to(vae.device, vae.dtype)
        scaled = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        means = F.adaptive_avg_pool2d(pixels, scaled.shape[-2:])
        latents.append(scaled.movedim(1, -1).flatten(0, -2).double().cpu())
        colours.append(means.movedim(1, -1).flatten(0, -2).double().cpu())
    return torch.cat(latents), torch.cat(colours)
