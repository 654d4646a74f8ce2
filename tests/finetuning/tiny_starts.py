"""What stages begin with: an image model and CLIP of a few thousand weights, and listed clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, UNet2DConditionModel
from tests.dynamicrafter.tiny_pipeline import SIZE, TRAINED_FRAMES, tiny_image_encoder
from tests.tiny_models import UNET_2D, randomise, tiny_text_encoder, tiny_tokenizer, tiny_vae
from tests.training.coded_clips import write_clip, write_manifest

FRAMES = TRAINED_FRAMES
NUM_CLIPS = 3


def save_image_model(folder: Path, **schedule: Any) -> Path:
    """Of Stable Diffusion's structure, for pictures of 16 x 16 pixels."""
    unet = UNet2DConditionModel(**{**UNET_2D, "sample_size": SIZE // 2})
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    parts = {
        "unet": randomise(unet, 0),
        "vae": tiny_vae(),
        "text_encoder": tiny_text_encoder(),
        "tokenizer": tiny_tokenizer(),
        "scheduler": DDIMScheduler(**{**betas, **schedule}),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder


def save_starts(folder: Path) -> Path:
    """`image`, `clip`, and `clips.jsonl` with three clips of 24 frames."""
    save_image_model(folder / "image")
    tiny_image_encoder().save_pretrained(folder / "clip")
    for number in range(NUM_CLIPS):
        write_clip(folder / f"{number}.mp4", 24, first=40 * number)
    rows = [{"path": f"{number}.mp4", "caption": "abc"[number]} for number in range(NUM_CLIPS)]
    write_manifest(folder / "clips.jsonl", rows)
    return folder
