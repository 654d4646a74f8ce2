"""The map from latents to colours, fitted to VAEs that are known and to the shipped one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from stillmotion.errors import InputError
from stillmotion.miniature.data import render_stills
from stillmotion.miniature.preview import fit_latent_rgb, r_squared
from stillmotion.models.registry import miniature_folder


class LinearVae:
    """Latents that are a known linear function of the mean colours, four pixels to a side."""

    device, dtype = torch.device("cpu"), torch.float32
    config = SimpleNamespace(scaling_factor=0.5)
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.3, 0.0, 1.0]])
    offset = torch.tensor([0.2, -0.1, 0.4])

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        means = F.avg_pool2d(pixels, 4).movedim(1, -1)
        latents = (means @ self.mixing.T + self.offset).movedim(-1, 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))


def noise_pictures(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 8, 8), generator=generator).to(torch.uint8)


def test_a_linear_vae_is_undone() -> None:
    vae = LinearVae()
    preview = fit_latent_rgb(vae, noise_pictures(20, 0))
    inverse = torch.linalg.inv(vae.mixing).T
    assert (preview.matrix - inverse / vae.config.scaling_factor).abs().max() < 1e-4
    assert (preview.bias + vae.offset @ inverse).abs().max() < 1e-4
    assert r_squared(preview, vae, noise_pictures(20, 1)) == pytest.approx(1, abs=1e-6)


def test_what_is_not_explained_is_counted() -> None:
    vae = LinearVae()
    preview = fit_latent_rgb(vae, noise_pictures(20, 0))
    blind = type(preview)(torch.zeros(3, 3), preview.bias)
    assert r_squared(blind, vae, noise_pictures(20, 1)) < 0.1


def test_too_few_pictures_are_told() -> None:
    with pytest.raises(InputError, match="1 latents are too few to fit 4 rows"):
        fit_latent_rgb(LinearVae(), noise_pictures(1, 0)[..., :4, :4])


def test_the_shipped_vae_is_nearly_linear_in_every_look() -> None:
    vae = AutoencoderKL.from_pretrained(miniature_folder() / "vae")
    preview = fit_latent_rgb(vae, render_stills(60, 1, 64).images)
    assert preview.matrix.shape == (vae.config.latent_channels, 3)
    assert r_squared(preview, vae, render_stills(30, 2, 64).images) > 0.7
