"""An image model and a video model of a few thousand weights, none of them zero."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from tests.tiny_models import randomise
from torch import Tensor

from stillmotion.dynamicrafter.inflation import text_to_video_from_image
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet

IMAGE: dict[str, Any] = {
    "sample_size": 4,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 6,
    "norm_num_groups": 4,
}
KINDS: dict[str, dict[str, Any]] = {
    "1.5": {"attention_head_dim": 2},
    "2.1": {"attention_head_dim": (2, 4), "use_linear_projection": True},
    "all levels": {
        "attention_head_dim": 4,
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "layers_per_block": 2,
    },
}
"""Stable Diffusion 1.5 has as many heads at every level and convolutions around its transformers,
2.1 neither; "all levels" attends at its smallest level as well, as the miniature does."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def image_unet(kind: str = "1.5", **changes: Any) -> UNet2DConditionModel:
    return randomise(UNet2DConditionModel(**{**IMAGE, **KINDS[kind], **changes}), 0)


def video_unet(**changes: Any) -> DynamiCrafterUNet:
    """A text-to-video network, its temporal layers at work."""
    return randomise(text_to_video_from_image(image_unet(), **changes), 1)
