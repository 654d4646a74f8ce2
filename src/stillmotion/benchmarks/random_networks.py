"""Pipelines of full size with random weights: where time is measured, but no picture is wanted.

Weights are normal and seeded, so that all layers carry signals of about the same size; zeros would
flatter, since the power that a device draws depends on the values.  Every contender computes with
the same networks.  `Widths` are those of the published models; tests use smaller ones.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNetMotionModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
)

from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.models.dynamicrafter_variants import VARIANTS, Variant
from stillmotion.runtime.seeds import derive_seed, new_weights

Network = TypeVar("Network", bound=nn.Module)
_SEED = 0
_SMALL_BIAS = 0.2


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Sizes of a CLIP text or image encoder."""

    width: int
    layers: int
    heads: int

    def arguments(self) -> dict[str, int]:
        """For transformers' configurations."""
        return {
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
        }


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Sizes of all networks; the defaults are the published ones."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Of the levels of every U-Net: all but the last have attention."""
    layers_per_block: int = 2
    norm_num_groups: int = 32
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    text: Tower = Tower(width=768, layers=12, heads=12)
    """CLIP ViT-L, of Stable Diffusion 1.5."""
    video_text: Tower = Tower(width=1024, layers=23, heads=16)
    """OpenCLIP ViT-H without its last layer, of DynamiCrafter."""
    vision: Tower = Tower(width=1280, layers=32, heads=16)
    """OpenCLIP ViT-H."""
    vision_size: int = 224
    vision_patch: int = 14
    context_layers: int = 4
    context_heads: int = 12
    head_dim: int = 64
    """Channels of one head in DynamiCrafter's networks."""
    heads: int = 8
    """Of AnimateDiff's attentions."""


FULL = Widths()


def animatediff_pipeline(
    dtype: torch.dtype, device: torch.device, widths: Widths = FULL
) -> AnimateZeroPipeline:
    """Stable Diffusion 1.5 with AnimateDiff's motion modules v2, weights random."""
    tokenizer = _tokenizer()
    pipe = AnimateZeroPipeline(
        vae=_vae(widths, dtype, device),
        text_encoder=_text_encoder(widths.text, tokenizer, dtype, device),
        tokenizer=tokenizer,
        unet=_on(device, dtype, UNetMotionModel, **motion_unet_config(widths)),
        motion_adapter=None,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="linear", steps_offset=1,
            clip_sample=False,
        ),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def dynamicrafter_pipeline(
    variant: Variant, dtype: torch.dtype, device: torch.device, widths: Widths = FULL
) -> DynamiCrafterPipeline:
    """A variant of DynamiCrafter, weights random."""
    facts = VARIANTS[variant]
    context = _on(
        device, dtype, ImageContext,
        embed_dims=widths.vision.width, output_dims=widths.video_text.width,
        hidden_dims=widths.video_text.width, depth=widths.context_layers,
        dim_head=widths.head_dim, heads=widths.context_heads,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        **widths.vision.arguments(), image_size=widths.vision_size, patch_size=widths.vision_patch
    )
    tokenizer = _tokenizer()
    pipe = DynamiCrafterPipeline(
        vae=_vae(widths, dtype, device),
        text_encoder=_text_encoder(widths.video_text, tokenizer, dtype, device),
        tokenizer=tokenizer,
        unet=_on(device, dtype, DynamiCrafterUNet, **video_unet_config(variant, widths)),
        scheduler=DynamiCrafterScheduler(**facts.scheduler),
        image_encoder=_on(device, dtype, CLIPVisionModel, vision),
        image_context=context,
        pace_kind=facts.pace_kind,
        default_pace=facts.default_pace,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def motion_unet_config(widths: Widths = FULL) -> dict[str, Any]:
    """Of the U-Net of Stable Diffusion with motion modules v2."""
    attention = len(widths.channels) - 1
    return {
        "sample_size": 64,
        "down_block_types": (*("CrossAttnDownBlockMotion",) * attention, "DownBlockMotion"),
        "up_block_types": ("UpBlockMotion", *("CrossAttnUpBlockMotion",) * attention),
        "block_out_channels": widths.channels,
        "layers_per_block": widths.layers_per_block,
        "norm_num_groups": widths.norm_num_groups,
        "cross_attention_dim": widths.text.width,
        "num_attention_heads": widths.heads,
        "motion_num_attention_heads": widths.heads,
        "motion_max_seq_length": 32,
    }


def video_unet_config(variant: Variant, widths: Widths = FULL) -> dict[str, Any]:
    """Of a variant's U-Net."""
    facts = VARIANTS[variant]
    attention = len(widths.channels) - 1
    return {
        "sample_size": (facts.height // 8, facts.width // 8),
        "down_block_types": (*("CrossAttnDownBlock3D",) * attention, "DownBlock3D"),
        "up_block_types": ("UpBlock3D", *("CrossAttnUpBlock3D",) * attention),
        "block_out_channels": widths.channels,
        "layers_per_block": widths.layers_per_block,
        "cross_attention_dim": widths.video_text.width,
        "attention_head_dim": widths.head_dim,
        "norm_num_groups": widths.norm_num_groups,
        "image_gate": variant is Variant.V256,
    }


def vae_config(widths: Widths = FULL) -> dict[str, Any]:
    """Of the autoencoder, which is Stable Diffusion's in all of them."""
    levels = len(widths.vae_channels)
    return {
        "block_out_channels": widths.vae_channels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": widths.layers_per_block,
        "norm_num_groups": widths.norm_num_groups,
        "latent_channels": 4,
        "sample_size": 512,
    }


def randomise(network: Network, seed: int) -> Network:
    """Give every weight a seeded normal value that keeps signals at about their size.

    Norms are about 1, and layers that training begins at zero are not: none hides what it costs
    or does.
    """
    for number, (name, weight) in enumerate(network.named_parameters()):
        rng = torch.Generator(weight.device).manual_seed(derive_seed(seed, number))
        drawn = torch.randn(weight.shape, generator=rng, device=weight.device)
        is_norm = "norm" in name and name.endswith("weight")
        scale = weight[0].numel() ** -0.5 if weight.ndim > 1 else _SMALL_BIAS
        weight.data = (float(is_norm) + drawn * scale).to(weight.dtype)
    return network.eval().requires_grad_(False)


def _on(device: torch.device, dtype: torch.dtype, kind: Any, *args: Any, **options: Any) -> Any:
    """A network made where it will live, with weights that depend on `_SEED` alone."""
    with new_weights(_SEED), torch.device(device):
        network = kind(*args, **options)
    return nn.Module.to(randomise(network, _SEED), dtype=dtype)


def _vae(widths: Widths, dtype: torch.dtype, device: torch.device) -> Any:
    return _on(device, dtype, AutoencoderKL, **vae_config(widths))


def _text_encoder(
    tower: Tower, tokenizer: CLIPTokenizer, dtype: torch.dtype, device: torch.device
) -> Any:
    config = CLIPTextConfig(
        **tower.arguments(), pad_token_id=0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return _on(device, dtype, CLIPTextModel, config)


def _tokenizer() -> CLIPTokenizer:
    """CLIP's, for lower-case letters alone: what the words are does not matter here."""
    letters = string.ascii_lowercase
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
