"""Sizes of DynamiCrafter's networks, from the shapes of their tensors in an official checkpoint.

Each function takes shapes by official names without prefix and gives the arguments of the class
that holds the network; what shapes do not show has the value of all released models.  A KeyError
names a tensor that is missing; other ValueErrors and IndexErrors mean shapes of another form.
"""

from __future__ import annotations

import re
from typing import Any

from stillmotion.models.layouts import Shapes


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of a DynamiCrafterUNet."""
    blocks = 1 + max(int(n.split(".")[1]) for n in shapes if n.startswith("input_blocks."))
    downs = [n for n in range(blocks) if f"input_blocks.{n}.0.op.weight" in shapes]
    # A level is its layers and the downsampling, which the last one lacks.
    length = downs[0] if downs else blocks
    firsts = range(1, blocks, length)
    attends = [f"input_blocks.{first}.1.norm.weight" in shapes for first in firsts]
    down = ["CrossAttnDownBlock3D" if attended else "DownBlock3D" for attended in attends]
    up = ["CrossAttnUpBlock3D" if attended else "UpBlock3D" for attended in reversed(attends)]
    motion = ("fps_embedding.", "framestride_embed.")
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": [
            shapes[f"input_blocks.{first}.0.out_layers.3.weight"][0] for first in firsts
        ],
        "layers_per_block": length - 1,
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        # The first temporal attention has 8 heads at any width.
        "attention_head_dim": shapes["init_attn.0.proj_in.weight"][0] // 8,
        "norm_num_groups": 32,
        "spatial_heads": None,
        "image_context": any(name.endswith(".to_k_ip.weight") for name in shapes),
        "image_gate": any(name.endswith(".attn2.alpha") for name in shapes),
        "motion_embedding": any(name.startswith(motion) for name in shapes),
    }


def context_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of an ImageContext: heads of 64 channels, queries for 16 frames."""
    hidden, embedded = shapes["proj_in.weight"]
    depth = len({match[1] for name in shapes if (match := re.match(r"layers\.(\d+)\.", name))})
    return {
        "embed_dims": embedded,
        "output_dims": shapes["proj_out.weight"][0],
        "hidden_dims": hidden,
        "depth": depth,
        "dim_head": 64,
        "heads": max(1, shapes["layers.0.0.to_q.weight"][0] // 64),
        "num_queries": max(1, shapes["latents"][1] // 16),
        "num_frames": 16,
        "ffn_ratio": shapes["layers.0.1.1.weight"][0] // hidden,
    }


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """The arguments of an AutoencoderKL."""
    levels = 1 + max(int(n.split(".")[2]) for n in shapes if n.startswith("encoder.down."))
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [
            shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)
        ],
        "layers_per_block": len(
            {n.split(".")[4] for n in shapes if n.startswith("encoder.down.0.block.")}
        ),
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "norm_num_groups": 32,
        "scaling_factor": 0.18215,
    }
