"""diffusers' motion module with a per-frame norm is AnimateDiff's own, number by number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from safetensors.torch import load_file
from torch import Tensor, nn

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_sites import PerFrameNorm

# Names inside one module of an AnimateDiff checkpoint -> names in diffusers.
RENAMED = {
    "temporal_transformer.": "",
    "attention_blocks.0.pos_encoder.pe": "pos_embed.pe",
    "attention_blocks.0.": "attn1.",
    "attention_blocks.1.": "attn2.",
    "norms.0.": "norm1.",
    "norms.1.": "norm2.",
    "ff_norm.": "norm3.",
}


@pytest.fixture(scope="module")
def network(golden: Path) -> nn.Module:
    """A network whose only part is one motion module."""
    module = AnimateDiffTransformer3D(
        num_attention_heads=8,
        attention_head_dim=8,
        in_channels=64,
        norm_num_groups=32,
        positional_embeddings="sinusoidal",
        num_positional_embeddings=32,
    )
    weights = load_file(golden / "animatediff" / "motion_module_v2.weights.safetensors")
    tables = [weights.pop(name) for name in list(weights) if name.endswith("1.pos_encoder.pe")]
    renamed = {}
    for name, tensor in weights.items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    module.load_state_dict(renamed)
    assert torch.equal(tables[0], module.transformer_blocks[0].pos_embed.pe)
    parent = nn.Module()
    parent.motion_modules = nn.ModuleList([module])
    whole = nn.Module()
    whole.block = parent
    return whole.eval()


def call(network: nn.Module, x: Tensor) -> Tensor:
    """(b c f h w) through the motion module."""
    b, _, f = x.shape[:3]
    with torch.no_grad():
        out = network.block.motion_modules[0](x.transpose(1, 2).flatten(0, 1), num_frames=f)
    return out.unflatten(0, (b, f)).transpose(1, 2)


@pytest.mark.parametrize("case", ["f16", "f8_strong", "f32_max"])
def test_golden(case: str, network: nn.Module, golden: Path) -> None:
    numbers = load_file(golden / "animatediff" / "motion_module_v2.io.safetensors")
    x, expected = numbers[f"{case}.input"], numbers[f"{case}.output"]
    with adapted(network, [PerFrameNorm()]):
        assert (call(network, x) - expected).abs().max() < 2e-4
    assert (call(network, x) - expected).abs().max() > 1, "diffusers' own norm differs"
