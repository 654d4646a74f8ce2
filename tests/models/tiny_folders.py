"""Model folders and files of a few kilobytes, in the formats that models are shared in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel
from safetensors.torch import save_file
from tests.tiny_models import (
    UNET_2D,
    randomise,
    tiny_motion_adapter,
    tiny_scheduler,
    tiny_text_encoder,
    tiny_tokenizer,
    tiny_vae,
)
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from stillmotion.models.checkpoints import save_checkpoint
from stillmotion.models.description import FILE_NAME

CLASSES = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "motion_adapter": ["diffusers", "MotionAdapter"],
}
SIZE = {"height": 8, "width": 8, "num_frames": 3, "num_inference_steps": 2}


def tiny_image_unet(seed: int = 0) -> UNet2DConditionModel:
    return randomise(UNet2DConditionModel(**UNET_2D), seed)


def make_folder(folder: Path, seed: int = 0, *, motion: bool = True, **scheduler: Any) -> Path:
    """A model folder as others save it: image U-Net and motion adapter apart."""
    parts: dict[str, Any] = {
        "unet": tiny_image_unet(seed),
        "vae": tiny_vae(seed + 1),
        "text_encoder": tiny_text_encoder(seed + 2),
        "tokenizer": tiny_tokenizer(),
        "scheduler": tiny_scheduler(**scheduler),
    }
    if motion:
        parts["motion_adapter"] = tiny_motion_adapter(seed + 3)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index = {name: CLASSES[name] for name in parts}
    name = "AnimateDiffPipeline" if motion else "StableDiffusionPipeline"
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **index}))
    (folder / FILE_NAME).write_text(json.dumps({**SIZE, "negative_prompt": ""}))
    return folder


def make_checkpoint(path: Path, seed: int) -> Path:
    """A single file with other weights than `make_folder` gives for another seed."""
    folder = make_folder(path.parent / f"{path.stem}-parts", seed, motion=False)
    save_checkpoint(folder, path)
    return path


def make_motion(folder: Path, seed: int) -> MotionAdapter:
    """A motion adapter in diffusers' layout."""
    adapter = tiny_motion_adapter(seed)
    adapter.save_pretrained(folder)
    return adapter


def make_lora(path: Path, seed: int = 0, module: str = "to_q") -> Path:
    """A kohya LoRA for the first spatial self-attention."""
    generator = torch.Generator().manual_seed(seed)
    name = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_{module}"
    tensors = {
        f"{name}.lora_down.weight": torch.randn(2, 8, generator=generator),
        f"{name}.lora_up.weight": torch.randn(8, 2, generator=generator),
        f"{name}.alpha": torch.tensor(2.0),
    }
    save_file(tensors, path)
    return path


def make_embedding(path: Path, width: int = 8, rows: int = 2) -> Path:
    generator = torch.Generator().manual_seed(0)
    save_file({"emb_params": torch.randn(rows, width, generator=generator)}, path)
    return path


def make_ip_adapter(path: Path, widths: tuple[int, ...] = (8, 8, 8, 16)) -> Path:
    """A plain IP-Adapter for the tiny U-Net, its image encoder beside it.

    `widths` are those of the cross-attentions in diffusers' order: down, up, mid.
    """
    generator = torch.Generator().manual_seed(0)
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
            projection_dim=6,
        )
    )
    randomise(encoder, 7).save_pretrained(path.parent / "image_encoder")
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * 8, 6, generator=generator),
        "image_proj.proj.bias": torch.randn(4 * 8, generator=generator),
        "image_proj.norm.weight": torch.ones(8),
        "image_proj.norm.bias": torch.zeros(8),
    }
    for index, width in enumerate(widths):
        for name in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * index + 1}.{name}.weight"] = torch.randn(
                width, 8, generator=generator
            )
    save_file(tensors, path)
    return path
