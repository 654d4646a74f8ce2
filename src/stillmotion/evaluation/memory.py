"""How much memory clips need: the presets of `runtime/memory.py`, counted for whole models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNetMotionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from stillmotion.animatezero.memory_needs import ClipSize, estimate_peak
from stillmotion.runtime.memory import PRESETS, MemoryPlan, Peak

FULL_SIZE = ClipSize(num_frames=16, height=512, width=512)
"""The clip that the papers make, and their networks were trained for."""


CUDA = torch.device("cuda")
"""Where the presets are counted for; nothing is computed there."""
CONTEXT_BYTES = int(0.45 * 2**30)
"""What CUDA takes for itself before anything is computed: a usual figure, not counted here."""


@dataclass(frozen=True)
class Target:
    """What a clip of `FULL_SIZE` may need, CUDA's own memory included."""

    name: str
    plan: MemoryPlan
    limit_bytes: int


TARGETS = (
    Target("guidance in one batch", PRESETS["full"], int(5.5 * 2**30)),
    Target("guidance one half after the other", PRESETS["lean"], int(4.5 * 2**30)),
    Target(
        "the same with weights in 8 bits",
        MemoryPlan(
            sequential_guidance=True, decode_chunk=1, feed_forward_chunks=4, weights="float8"
        ),
        int(3.3 * 2**30),
    ),
)


@dataclass(frozen=True)
class Networks:
    """The networks of a pipeline that matter for memory."""

    unet: Any
    vae: Any
    text_encoder: Any


def full_size_networks(dtype: torch.dtype = torch.float16) -> Networks:
    """Stable Diffusion 1.5 with AnimateDiff's motion modules v2, on the meta device: no weights."""
    with torch.device("meta"):
        unet = UNetMotionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=768,
            num_attention_heads=8,
            motion_num_attention_heads=8,
            motion_max_seq_length=32,
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
            )
        )
        for network in (unet, vae, text_encoder):
            nn.Module.to(network, dtype=dtype)
    return Networks(unet, vae, text_encoder)


def peaks(networks: Any, clip: ClipSize) -> dict[str, Peak]:
    """What `clip` needs under each preset, by its name."""
    return {name: estimate_peak(networks, clip, plan.on(CUDA)) for name, plan in PRESETS.items()}


def needs(networks: Any, target: Target) -> int:
    """Bytes that a clip of `FULL_SIZE` needs under the target's plan, CUDA's own included."""
    return estimate_peak(networks, FULL_SIZE, target.plan.on(CUDA)).total + CONTEXT_BYTES


def target_table(networks: Any) -> str:
    """Whether each target holds, as a Markdown table in GiB."""
    rows = ["| 16 frames of 512 x 512 | needs | target | |", "| --- | --- | --- | --- |"]
    for target in TARGETS:
        need = needs(networks, target)
        word = "holds" if need <= target.limit_bytes else "**falls short**"
        limit = target.limit_bytes / 2**30
        rows.append(f"| {target.name} | {need / 2**30:.2f} GiB | {limit:.1f} GiB | {word} |")
    return "\n".join(rows)


def table(found: dict[str, Peak]) -> str:
    """The peaks as a Markdown table, in units of 2^20 bytes."""
    rows = [
        "| preset | U-Net, activations | decoder, activations | weights | all at once |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, peak in found.items():
        sizes = (
            peak.denoise.activations,
            peak.decode.activations,
            peak.denoise.weights,
            peak.total,
        )
        rows.append(f"| {name} | {' | '.join(_mib(size) for size in sizes)} |")
    return "\n".join(rows)


def as_facts(found: dict[str, Peak]) -> list[dict[str, Any]]:
    """The peaks for JSON, in bytes."""
    return [
        {
            "preset": name,
            "unet_activation_bytes": peak.denoise.activations,
            "decoder_activation_bytes": peak.decode.activations,
            "weight_bytes": peak.denoise.weights,
            "total_bytes": peak.total,
        }
        for name, peak in found.items()
    ]


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.{0 if num_bytes >= 10 * 2**20 else 1}f} MiB"
