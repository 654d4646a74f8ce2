"""A whole DynamiCrafter pipeline of a few thousand weights."""

from __future__ import annotations

from typing import Any

from tests.tiny_models import randomise, tiny_text_encoder, tiny_tokenizer, tiny_vae
from transformers import CLIPVisionConfig, CLIPVisionModel

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet

TRAINED_FRAMES = 4
SIZE = 16
"""Pictures are of 16 x 16 pixels, latents of 8 x 8."""


def tiny_dynamicrafter_unet(**changes: Any) -> DynamiCrafterUNet:
    config: dict[str, Any] = {
        "sample_size": SIZE // 2,
        "in_channels": 8,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
        "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "cross_attention_dim": 8,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
        "image_gate": True,
    }
    return randomise(DynamiCrafterUNet(**{**config, **changes}), 7)


def tiny_image_encoder() -> CLIPVisionModel:
    config = CLIPVisionConfig(
        hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        image_size=8, patch_size=4,
    )  # fmt: skip
    return randomise(CLIPVisionModel(config), 8)


def tiny_dynamicrafter(**changes: Any) -> DynamiCrafterPipeline:
    text = tiny_text_encoder()
    text.config.pad_token_id = 0
    context = ImageContext(
        embed_dims=12, output_dims=8, hidden_dims=8, depth=1, dim_head=4, heads=2, num_queries=2,
        num_frames=TRAINED_FRAMES, ffn_ratio=2,
    )  # fmt: skip
    scheduler = DynamiCrafterScheduler(
        prediction_type="v_prediction", zero_terminal_snr=True, rescale_base=0.7,
        timestep_spacing="trailing",
    )  # fmt: skip
    parts: dict[str, Any] = {
        "vae": tiny_vae(),
        "text_encoder": text,
        "tokenizer": tiny_tokenizer(),
        "unet": tiny_dynamicrafter_unet(),
        "scheduler": scheduler,
        "image_encoder": tiny_image_encoder(),
        "image_context": randomise(context, 9),
        "pace_kind": "conditioning_fps",
        "default_pace": 8,
        "trained_frames": TRAINED_FRAMES,
    }
    return DynamiCrafterPipeline(**{**parts, **changes})
