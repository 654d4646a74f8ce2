"""What the index of a DynamiCrafter model's folder names: its class and those of its parts."""

from __future__ import annotations

from collections.abc import Mapping

DYNAMICRAFTER_PIPELINE = "DynamiCrafterPipeline"
"""The class of models that animate by DynamiCrafter's method."""
PART_CLASSES: Mapping[str, list[str]] = {
    "unet": ["stillmotion", "DynamiCrafterUNet"],
    "image_context": ["stillmotion", "ImageContext"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "image_encoder": ["transformers", "CLIPVisionModel"],
    "scheduler": ["stillmotion", "DynamiCrafterScheduler"],
}
"""Library and class of each part, in model_index.json."""
