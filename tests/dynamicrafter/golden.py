"""The published networks at a small size: random weights, inputs and the outputs they gave.

They lie beside the repository and were made by running the published code (`golden/README.md`).
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.formula import drawn
from torch import Tensor

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.models.dynamicrafter_names import context_from_official, unet_from_official

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "golden" / "dynamicrafter"
UNET_PREFIX = "model.diffusion_model."
CONTEXT_PREFIX = "image_proj_model."
TEXT_LENGTH = 77
TOKENS_PER_FRAME = 16
SALT = 20261120

needs_golden = pytest.mark.skipif(not FOLDER.is_dir(), reason="no golden numbers beside the clone")

SMALL = {  # channel_mult [1, 2], one block, attention_resolutions [1]
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
}
CONFIGS = {
    "unet_256style": {
        **SMALL,
        "attention_head_dim": 4,
        "cross_attention_dim": 12,
        "image_gate": True,
    },
    "unet_512style": {**SMALL, "attention_head_dim": 2, "cross_attention_dim": 10},
    "unet_512style_full": {
        "block_out_channels": (64, 128, 128, 128),
        "attention_head_dim": 16,
        "cross_attention_dim": 16,
    },
}
CONTEXT = {
    "embed_dims": 40,
    "output_dims": 16,
    "hidden_dims": 32,
    "depth": 2,
    "dim_head": 8,
    "heads": 3,
}
DEFAULT_MOTION = {"unet_256style": 3, "unet_512style": 24, "unet_512style_full": 24}


def read(name: str) -> dict[str, Tensor]:
    """A file of golden tensors, for instance `unet_256style.io`."""
    return load_file(FOLDER / f"{name}.safetensors")


def unet(style: str) -> DynamiCrafterUNet:
    """One of `CONFIGS` with its golden weights."""
    official = weights_by_formula(style) if style.endswith("_full") else read(f"{style}.weights")
    network = DynamiCrafterUNet(**CONFIGS[style])
    bare = {name.removeprefix(UNET_PREFIX): tensor for name, tensor in official.items()}
    network.load_state_dict(unet_from_official(bare, network.state_dict()))
    return network.eval()


def image_context() -> ImageContext:
    """The query transformer with its golden weights."""
    context = ImageContext(**CONTEXT)
    official = read("resampler.weights")
    bare = {name.removeprefix(CONTEXT_PREFIX): tensor for name, tensor in official.items()}
    context.load_state_dict(context_from_official(bare, context.state_dict()))
    return context.eval()


def inputs(style: str, case: str, io: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arguments of our U-Net for a case of the published one.

    There text and image tokens are one tensor: 16 for each frame if there are 16 times as many as
    frames, otherwise all for all frames.
    """
    x, context = io[f"{case}.x"], io[f"{case}.context"]
    text, image = context[:, :TEXT_LENGTH], context[:, TEXT_LENGTH:]
    if image.shape[1] == TOKENS_PER_FRAME * x.shape[2]:
        image = image.unflatten(1, (x.shape[2], TOKENS_PER_FRAME))
    default = torch.full((len(x),), DEFAULT_MOTION[style])
    return {
        "sample": x,
        "timestep": io[f"{case}.timesteps"],
        "encoder_hidden_states": text,
        "image_tokens": image,
        "motion": io.get(f"{case}.fs", default),
    }


def weights_by_formula(style: str) -> dict[str, Tensor]:
    """The weights that `<style>.keys.txt` names, by their official names."""
    lines = (FOLDER / f"{style}.keys.txt").read_text(encoding="utf-8").splitlines()
    tensors = {}
    for line in lines:
        key, _, shape = line.partition("\t")
        tensors[key] = formula(key, tuple(map(int, shape.split("x"))) if shape else ())
    return tensors


def formula(key: str, shape: tuple[int, ...]) -> Tensor:
    """One tensor of the golden networks, by section 9 of the golden numbers."""
    return drawn(key, shape, SALT, *_range(key, shape))


def _range(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and amplitude, by the last part of the name and the shape."""
    last = key.rpartition(".")[2]
    if last == "alpha":
        return 0.0, 1.2
    if last == "weight" and len(shape) == 1:
        return 1.0, 0.4
    if last == "bias":
        return 0.0, 0.25
    gain = 1.6 if ".to_q" in key or ".to_k" in key else 1.0
    if key.endswith("proj_out.weight"):
        gain = 0.8
    return 0.0, gain * (3 * shape[0] / math.prod(shape)) ** 0.5
