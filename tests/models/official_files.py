"""Checkpoints of DynamiCrafter and VideoCrafter as they are published, but small."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from tests.tiny_models import randomise, tiny_tokenizer
from torch import Tensor

from stillmotion.diffusion.dynamic_rescale import dynamic_scales
from stillmotion.diffusion.schedule import (
    alphas_cumprod,
    scaled_linear_betas,
    zero_terminal_snr_betas,
)
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.models.dynamicrafter_names import context_to_official, unet_to_official
from stillmotion.models.ldm import vae_to_ldm

TEXT_PREFIX, CLIP_PREFIX = "cond_stage_model.model.", "embedder.model."
TEXT_WIDTH, VISION_WIDTH, MAX_LENGTH = 8, 16, 16
UNET: dict[str, Any] = {
    "block_out_channels": (32, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": TEXT_WIDTH,
}
CONTEXT = {
    "embed_dims": VISION_WIDTH, "output_dims": TEXT_WIDTH, "hidden_dims": 8, "depth": 1,
    "heads": 1,
}  # fmt: skip
VAE: dict[str, Any] = {
    "block_out_channels": (32, 32),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
SCHEDULES = {"256": (False, None), "512": (True, 0.7), "1024": (True, 0.3), "t2v": (False, 0.7)}
"""Zero terminal SNR and the base of dynamic rescaling."""


def blocks(width: int, layers: int, inner: int) -> dict[str, tuple[int, ...]]:
    """Shapes under the names that open_clip 2.22 gives them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        head = f"transformer.resblocks.{layer}."
        shapes |= {
            f"{head}attn.in_proj_weight": (3 * width, width),
            f"{head}attn.in_proj_bias": (3 * width,),
            f"{head}attn.out_proj.weight": (width, width),
            f"{head}attn.out_proj.bias": (width,),
            f"{head}mlp.c_fc.weight": (inner, width),
            f"{head}mlp.c_fc.bias": (inner,),
            f"{head}mlp.c_proj.weight": (width, inner),
            f"{head}mlp.c_proj.bias": (width,),
        }
        for norm in ("ln_1", "ln_2"):
            shapes |= {f"{head}{norm}.weight": (width,), f"{head}{norm}.bias": (width,)}
    return shapes


def text_shapes(
    width: int = 16, layers: int = 3, inner: int = 24, words: int = 20, length: int = 7
) -> dict[str, tuple[int, ...]]:
    return {
        **blocks(width, layers, inner),
        "token_embedding.weight": (words, width),
        "positional_embedding": (length, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
        "text_projection": (width, width),
        "logit_scale": (),
    }


def vision_shapes(
    width: int = 16, layers: int = 2, inner: int = 24, patch: int = 4, side: int = 3, out: int = 8
) -> dict[str, tuple[int, ...]]:
    norms = {f"{norm}.{p}": (width,) for norm in ("ln_pre", "ln_post") for p in ("weight", "bias")}
    return {
        **blocks(width, layers, inner),
        **norms,
        "class_embedding": (width,),
        "positional_embedding": (side**2 + 1, width),
        "proj": (width, out),
        "conv1.weight": (width, 3, patch, patch),
    }


def random_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(shapes))
    return {n: 0.5 * torch.randn(shape, generator=generator) for n, shape in shapes.items()}


def schedule(variant: str) -> dict[str, Tensor]:
    """Some of the tables of the noise schedule, as the official code keeps them."""
    zero, base = SCHEDULES[variant.removesuffix("-interp")]
    betas = zero_terminal_snr_betas(scaled_linear_betas()) if zero else scaled_linear_betas()
    tables = {"betas": betas, "alphas_cumprod": alphas_cumprod(betas)}
    if base is not None:
        tables["scale_arr"] = dynamic_scales(base, 1400)
    return {name: table.float() for name, table in tables.items()}


def clip_towers(*, sees: bool) -> dict[str, Tensor]:
    """OpenCLIP as it is in a checkpoint: the text tower, and the visual one with leftovers."""
    words = len(tiny_tokenizer())
    text = random_tensors(text_shapes(TEXT_WIDTH, words=words, length=MAX_LENGTH))
    towers = {TEXT_PREFIX + name: tensor for name, tensor in text.items()}
    if sees:
        visual = random_tensors(vision_shapes(VISION_WIDTH))
        towers |= {f"{CLIP_PREFIX}visual.{name}": tensor for name, tensor in visual.items()}
        leftovers = [name for name in text if not name.startswith("transformer.")]
        towers |= {CLIP_PREFIX + name: text[name].clone() for name in leftovers}
    return towers


def official(variant: str, *, clip: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a published file; with `clip` False of a community one."""
    sees = variant != "t2v"
    changes = {"image_gate": variant == "256"} if sees else {"image_context": False,
                                                             "in_channels": 4}  # fmt: skip
    tensors = unet_to_official(randomise(DynamiCrafterUNet(**UNET, **changes), seed).state_dict())
    tensors |= vae_to_ldm(randomise(AutoencoderKL(**VAE), seed + 1).state_dict())
    if sees:
        tensors |= context_to_official(randomise(ImageContext(**CONTEXT), seed + 2).state_dict())
    if clip:
        tensors |= clip_towers(sees=sees) | schedule(variant)
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
