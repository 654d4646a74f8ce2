"""Stage "vae": an AutoencoderKL over stills of every look."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from stillmotion.miniature.data import StillSet, sample_indices, to_model_range
from stillmotion.miniature.recipe import Recipe

#: Pixels of the subject count this much more than their area: small parts carry the content.
SUBJECT_WEIGHT = 2.0
#: Keeps the latents smooth and of a bounded scale without costing sharpness.
KL_WEIGHT = 2e-4
#: First part of the budget that trains on crops of half the frame, each around the subject: the
#: same pixels per second show four times as many subjects.  Whole frames come last, because
#: group normalisation sees other statistics in them.
CROPPED_PART = 0.55


def build_vae(recipe: Recipe) -> AutoencoderKL:
    """A VAE of Stable Diffusion's structure: factor 8, no attention, few channels at full size."""
    levels = len(recipe.vae_widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=recipe.vae_widths,
        layers_per_block=1,
        latent_channels=recipe.latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=recipe.image_size,
    )


class VaeStage:
    """Trains encoder and decoder together: L1 and L2 errors, weighted by subject, and KL."""

    name = "vae"

    def __init__(self, recipe: Recipe, stills: StillSet, vae: AutoencoderKL) -> None:
        self.vae = vae.to(memory_format=torch.channels_last)
        self.stills = stills
        self.batch = recipe.budgets["vae"].batch

    def parameters(self) -> list[nn.Parameter]:
        return list(self.vae.parameters())

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        pixels, masks = self._batch(generator, cropped=progress < CROPPED_PART)
        device = self.vae.device
        images = to_model_range(pixels).to(device, memory_format=torch.channels_last)
        weight = 1 + SUBJECT_WEIGHT * masks.float()[:, None].to(device)
        posterior = self.vae.encode(images).latent_dist
        mean, log_variance = posterior.mean.float(), posterior.logvar.float()
        noise = torch.randn(mean.shape, generator=generator).to(device)
        latents = mean + torch.exp(0.5 * log_variance) * noise
        latents = latents.contiguous(memory_format=torch.channels_last)
        restored = self.vae.decode(latents).sample.float()
        error = restored - images
        weight = weight / weight.mean()
        reconstruction = (weight * (error.abs() + 2 * error.square())).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        psnr = -10 * torch.log10(F.mse_loss(restored.detach(), images) / 4)
        return {"loss": reconstruction + KL_WEIGHT * kl, "kl": kl.detach(), "psnr": psnr}

    def _batch(self, generator: torch.Generator, *, cropped: bool) -> tuple[Tensor, Tensor]:
        """Images `(b, 3, h, w)` uint8 and subject masks `(b, h, w)`; more of them if cropped."""
        count = 3 * self.batch if cropped else self.batch
        index = sample_indices(len(self.stills), count, generator)
        images, masks = self.stills.images[index], self.stills.masks[index]
        if not cropped:
            return images, masks
        size = images.shape[-1]
        # A pixel of the subject, or any pixel where it is out of view, is inside the crop.
        weights = masks.flatten(1).float() + 1e-3
        centre = torch.multinomial(weights, 1, generator=generator)[:, 0]
        half, limit = size // 2, size - size // 2
        tops = (centre // size - half // 2).clamp(0, limit).tolist()
        lefts = (centre % size - half // 2).clamp(0, limit).tolist()
        windows = [
            (n, slice(top, top + half), slice(left, left + half))
            for n, (top, left) in enumerate(zip(tops, lefts, strict=True))
        ]
        crops = torch.stack([images[n, :, rows, columns] for n, rows, columns in windows])
        return crops, torch.stack([masks[w] for w in windows])


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: Tensor, batch: int = 64) -> Tensor:
    """Unscaled latent means of uint8 images `(n, 3, h, w)`: `(n, c, h/8, w/8)` float32."""
    latents = []
    for chunk in images.split(batch):
        pixels = to_model_range(chunk).to(vae.device, memory_format=torch.channels_last)
        with torch.autocast(vae.device.type, dtype=torch.bfloat16):
            latents.append(vae.encode(pixels).latent_dist.mean.float().cpu())
    return torch.cat(latents)


def fit_scaling(vae: AutoencoderKL, images: Tensor) -> float:
    """Set the VAE's scaling factor so that its latents have unit variance; returns the factor."""
    factor = 1.0 / encode_images(vae, images).std().item()
    vae.register_to_config(scaling_factor=factor)
    return factor
