"""Networks of a few thousand weights with the real structure, built in milliseconds."""

from __future__ import annotations

import string
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from stillmotion.animatezero.pipeline import AnimateZeroPipeline

MAX_FRAMES = 8
UNET = {
    "sample_size": 4,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
}
UNET_2D = {
    **UNET,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 2,
}
UNET_MOTION = {
    **UNET,
    "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
    "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion"),
    "num_attention_heads": 2,
    "motion_num_attention_heads": 2,
    "motion_max_seq_length": MAX_FRAMES,
}


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Give every parameter values that matter: no zero-initialised layer hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 25
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = centre + noise / fan**0.5
    return module.eval()


def tiny_unet(seed: int = 0, **changes: Any) -> UNetMotionModel:
    unet = UNetMotionModel(**{**UNET_MOTION, **changes})
    return randomise(unet, seed)


def image_unet_of(unet: UNetMotionModel) -> UNet2DConditionModel:
    """The image model with the weights that `unet` has outside its motion modules."""
    image_unet = UNet2DConditionModel(**UNET_2D)
    image_unet.load_state_dict(
        {name: w for name, w in unet.state_dict().items() if "motion_modules" not in name}
    )
    return image_unet.eval()


def tiny_motion_adapter(seed: int = 3) -> MotionAdapter:
    adapter = MotionAdapter(
        block_out_channels=UNET["block_out_channels"],
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=MAX_FRAMES,
    )
    return randomise(adapter, seed)


def tiny_vae(seed: int = 1) -> AutoencoderKL:
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=2,
        latent_channels=4,
    )
    return randomise(vae, seed)


def tiny_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer for lower-case letters, one token each, 16 at most."""
    letters = string.ascii_lowercase
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)


def tiny_text_encoder(seed: int = 2) -> CLIPTextModel:
    tokenizer = tiny_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return randomise(CLIPTextModel(config), seed)


def tiny_scheduler(**changes: Any) -> DDIMScheduler:
    settings = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "linear",
        "clip_sample": False,
        "steps_offset": 1,
    }
    return DDIMScheduler(**{**settings, **changes})


def tiny_components(**changes: Any) -> dict[str, Any]:
    components = {
        "vae": tiny_vae(),
        "text_encoder": tiny_text_encoder(),
        "tokenizer": tiny_tokenizer(),
        "unet": tiny_unet(),
        "motion_adapter": None,
        "scheduler": tiny_scheduler(),
    }
    return {**components, **changes}


def tiny_pipeline(**changes: Any) -> AnimateZeroPipeline:
    pipe = AnimateZeroPipeline(**tiny_components(**changes))
    pipe.set_progress_bar_config(disable=True)
    return pipe
