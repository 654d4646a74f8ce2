"""Tiny random networks in folders as `transformers` saves them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTModel,
)

from stillmotion.models.registry import miniature_folder

SIZE, PATCH, WIDTH, JOINT = 32, 8, 16, 12
VISION = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "image_size": SIZE,
    "patch_size": PATCH,
}
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 881,
    "max_position_embeddings": 20,
    "bos_token_id": 879,
    "eos_token_id": 880,
    "pad_token_id": 880,
}


def shaken(network: nn.Module, seed: int) -> Any:
    """Random values for every parameter, so that none is idle."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        centre = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
        spread = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = centre + spread * noise
    return network.eval()


def tiny_clip(layers: int = 5, seed: int = 0, **vision: Any) -> CLIPModel:
    config = CLIPConfig(
        text_config=TEXT,
        vision_config={**VISION, "num_hidden_layers": layers, **vision},
        projection_dim=JOINT,
    )
    return shaken(CLIPModel(config), seed)


def tiny_clip_folder(folder: Path, clip: CLIPModel | None = None) -> Path:
    """A folder with a CLIP and its tokenizer."""
    (clip or tiny_clip()).save_pretrained(folder)
    for file in (miniature_folder() / "tokenizer").iterdir():
        shutil.copy(file, folder)
    return folder


def tiny_vit(seed: int = 1, **changes: Any) -> ViTModel:
    config = ViTConfig(**{**VISION, "num_hidden_layers": 2, "layer_norm_eps": 1e-6, **changes})
    return shaken(ViTModel(config, add_pooling_layer=False), seed)


def tiny_tower(seed: int, **changes: Any) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        **{**VISION, "num_hidden_layers": 2, "projection_dim": JOINT, **changes}
    )
    return shaken(CLIPVisionModelWithProjection(config), seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Random uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
