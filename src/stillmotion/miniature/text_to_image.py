"""Stage "text-to-image": a Stable-Diffusion-like U-Net on plain stills."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from stillmotion.diffusion.parameterization import velocity
from stillmotion.diffusion.schedule import q_sample
from stillmotion.miniature.clip import tokenize
from stillmotion.miniature.data import LatentSet, random_caption, sample_indices
from stillmotion.miniature.recipe import Recipe
from stillmotion.world.scene import Scene

#: Latent cells count up to this much more, by how much of them the subject covers.
SUBJECT_WEIGHT = 2.0
#: Part of the captions that is dropped, so that guidance has an unconditional model.
CAPTION_DROPOUT = 0.1


def build_scheduler() -> DDIMScheduler:
    """AnimateDiff's schedule; the network predicts v, which a small network learns sooner.

    Spacing "leading" steps exactly from one sampled timestep to the next; with "linspace",
    diffusers 0.42 steps by 1000 // steps, which misses them by a little.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="v_prediction",
    )


def build_unet(recipe: Recipe, widths: tuple[int, ...] | None = None) -> UNet2DConditionModel:
    """Stable Diffusion's structure with fewer levels and channels; `widths` None: `unet_widths`."""
    widths = widths or recipe.unet_widths
    levels = len(widths)
    return UNet2DConditionModel(
        sample_size=recipe.image_size // 8,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels,
        up_block_types=("CrossAttnUpBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=recipe.unet_layers,
        cross_attention_dim=recipe.text_width,
        attention_head_dim=recipe.heads,
        norm_num_groups=16,
    )


class TextConditioner:
    """Turns scenes into text embeddings with fresh wording for every batch; never trained here."""

    def __init__(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> None:
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(
        self, scenes: list[Scene], generator: torch.Generator, *, domain: float, motion: float
    ) -> Tensor:
        """Embeddings `(n, text_length, d)`; a part of them is of the empty caption."""
        dropped = torch.rand(len(scenes), generator=generator) < CAPTION_DROPOUT
        captions = [
            "" if drop else random_caption(scene, generator, domain=domain, motion=motion)
            for scene, drop in zip(scenes, dropped.tolist(), strict=True)
        ]
        return self.embed(captions)

    @torch.no_grad()
    def embed(self, captions: list[str]) -> Tensor:
        """Embeddings `(n, text_length, d)` of captions as they are."""
        ids = tokenize(self.tokenizer, captions).to(self.text_encoder.device)
        embeddings: Tensor = self.text_encoder(ids).last_hidden_state
        return embeddings.float()


def subject_weight(masks: Tensor, size: int) -> Tensor:
    """Loss weight of latent cells from subject masks `(..., h, w)`: `(..., size, size)`."""
    cover = F.adaptive_avg_pool2d(masks.float().flatten(0, -3)[:, None], size)[:, 0]
    weight: Tensor = 1 + SUBJECT_WEIGHT * cover.unflatten(0, masks.shape[:-2])
    return weight


class Noising:
    """Draws what a denoiser is trained on: noise, and one timestep for each sample.

    Timesteps are u ** bias of the schedule, u uniform: below 1, noisy ones are drawn more often.
    """

    def __init__(self, bias: float = 1.0) -> None:
        self._alphas = build_scheduler().alphas_cumprod
        self._bias = bias

    def __call__(self, clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents and velocities of the shape `(b, ...)` of `clean`, and timesteps `(b,)`."""
        noise = torch.randn(clean.shape, generator=generator)
        share = torch.rand(len(clean), generator=generator) ** self._bias
        timesteps = (share * len(self._alphas)).long().clamp(max=len(self._alphas) - 1)
        alpha = self._alphas[timesteps].view(-1, *[1] * (clean.ndim - 1))
        return q_sample(clean, noise, alpha), velocity(clean, noise, alpha), timesteps


def weighted_mean(error: Tensor, weights: Tensor, index: Tensor) -> Tensor:
    """Mean of `error` by the samples' weights, of which the mean over all samples counts as 1."""
    return (weights[index].to(error.device) * error).mean() / weights.mean()


class StillDiffusionStage:
    """Denoising of latents of stills, conditioned on captions.

    Serves the stages "text-to-image" and "video-image" (all of the network's weights) and
    "domains" (`trained` gives the low-rank ones).
    """

    def __init__(
        self,
        name: str,
        batch: int,
        stills: LatentSet,
        unet: UNet2DConditionModel,
        conditioner: TextConditioner,
        *,
        domain_words: float = 0.0,
        trained: Callable[[], list[nn.Parameter]] | None = None,
        noising: Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor, Tensor]] | None = None,
    ) -> None:
        """`noising` as `Noising`'s call; None is the image model's own."""
        self.name, self.batch, self.stills = name, batch, stills
        self.unet = unet.to(memory_format=torch.channels_last)
        self.conditioner = conditioner
        self.domain_words = domain_words
        self._trained = trained or (lambda: list(unet.parameters()))
        self.noising = noising or Noising()

    def parameters(self) -> list[nn.Parameter]:
        return self._trained()

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.stills), self.batch, generator)
        clean = self.stills.latents[index].float()
        text = self.conditioner(
            [self.stills.scenes[i] for i in index.tolist()], generator,
            domain=self.domain_words, motion=0.5,
        )  # fmt: skip
        noisy, target, timesteps = self.noising(clean, generator)
        device = self.unet.device
        predicted = self.unet(
            noisy.to(device, memory_format=torch.channels_last), timesteps.to(device), text
        ).sample.float()
        error = (predicted - target.to(device)).square().mean(1)
        return {"loss": weighted_mean(error, self.stills.weights, index)}
