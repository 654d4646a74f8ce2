"""The norms of AnimateDiff v1, and whole networks against the authors' own, number by number."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNetMotionModel
from safetensors.torch import load_file
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.diffusers_sites import MotionBypass, PerFrameNorm
from stillmotion.adapters.v1_norm import AcrossFramesResnetNorm
from stillmotion.models.motion_files import motion_from_original

FRAMES = 6
SALT = 20261121


def weights_by_formula(path: Path) -> dict[str, Tensor]:
    """The tensors that a list of names and shapes stands for; see the golden README, section 9."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return {name: formula(name, [int(n) for n in shape.split("x")]) for name, shape in rows}


def formula(name: str, shape: list[int]) -> Tensor:
    size, mask = int(np.prod(shape)), 0xFFFFFFFF
    x = np.arange(size, dtype=np.uint64) * 0x9E3779B1 + ((zlib.crc32(name.encode()) ^ SALT) & mask)
    x &= mask
    x ^= x >> 16
    x = x * 0x85EBCA6B & mask
    x ^= x >> 13
    x = x * 0xC2B2AE35 & mask
    x ^= x >> 16
    mean, amplitude = 0.0, 0.25
    if name.endswith("weight") and len(shape) == 1:
        mean, amplitude = 1.0, 0.4
    elif not name.endswith("bias"):
        gain = 1.6 if ".to_q" in name or ".to_k" in name else 1.0
        gain = 0.8 if name.endswith("proj_out.weight") else gain
        amplitude = gain * (3 * shape[0] / size) ** 0.5
    values = mean + amplitude * (2 * (x / 2.0**32) - 1)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


@pytest.fixture(scope="module")
def weights(golden: Path) -> dict[str, Tensor]:
    return weights_by_formula(golden / "animatediff" / "unet3d.keys.txt")


def network(weights: dict[str, Tensor], *, mid_block: bool) -> UNetMotionModel:
    """The golden network in diffusers, filled by names of the published code."""
    with torch.device("meta"):
        unet = UNetMotionModel(
            block_out_channels=(64, 128),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
            up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
            cross_attention_dim=24,
            num_attention_heads=8,
            motion_num_attention_heads=8,
            use_motion_mid_block=mid_block,
        )
    motion = {n: t for n, t in weights.items() if ".motion_modules." in n and not n.endswith(".pe")}
    if not mid_block:
        motion = {n: t for n, t in motion.items() if not n.startswith("mid_block.")}
    image = {n: t for n, t in weights.items() if ".motion_modules." not in n}
    state = image | motion_from_original(motion)
    tables = {n: positions(t) for n, t in unet.state_dict().items() if n.endswith(".pe")}
    unet.load_state_dict(state | tables, assign=True)
    return unet.eval()


def positions(like: Tensor) -> Tensor:
    """sin(r w_k) in even columns, cos in odd ones, w_k = 10000^(-2k/c)."""
    _, rows, width = like.shape
    angle = torch.arange(rows)[:, None] * 10000.0 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=2).reshape(1, rows, width)


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "none"])
def test_golden(version: str, weights: dict[str, Tensor], golden: Path) -> None:
    numbers = load_file(golden / "animatediff" / "unet3d.io.safetensors")
    unet = network(weights, mid_block=version == "v2")
    adapters: list[Adapter] = [MotionBypass() if version == "none" else PerFrameNorm()]
    if version == "v1":
        adapters.append(AcrossFramesResnetNorm(FrameContext(num_frames=FRAMES)))
    context = numbers["encoder_hidden_states"].repeat_interleave(FRAMES, 0)
    with adapted(unet, adapters), torch.no_grad():
        output = unet(numbers["sample"], numbers["timestep"], context).sample
    assert (output - numbers[f"output_{version}"]).abs().max() < 3e-4
    if version in ("v1", "v3"):
        other = numbers["output_v3" if version == "v1" else "output_v1"]
        assert (output - other).abs().max() > 0.01


def test_sites_are_the_norms_of_resnets_and_the_last(weights: dict[str, Tensor]) -> None:
    unet = network(weights, mid_block=True)
    sites = AcrossFramesResnetNorm(FrameContext(num_frames=2)).sites(unet)
    # One ResNet per level of the encoder, two in the middle and two per level of the decoder.
    assert len(sites) == 2 * (2 + 2 + 4) + 1
    assert all(isinstance(unet.get_submodule(name), nn.GroupNorm) for name in sites)


@pytest.mark.parametrize("num_reference_rows", [0, 1])
def test_statistics_of_all_frames_and_of_each_reference(num_reference_rows: int) -> None:
    model = nn.Module()
    model.conv_norm_out = nn.GroupNorm(2, 4)
    context = FrameContext(num_frames=3, num_reference_rows=num_reference_rows)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, context.num_rows, 4, 5, 5), generator=generator)
    x = x * torch.arange(1, 1 + context.num_rows)[:, None, None, None]
    plain = model.conv_norm_out(x.flatten(0, 1))
    with adapted(model, [AcrossFramesResnetNorm(context)]):
        y = model.conv_norm_out(x.flatten(0, 1)).view_as(x)
    for video, result in zip(x, y, strict=True):
        for group in (slice(0, 2), slice(2, 4)):
            frames = video[num_reference_rows:, group].double()
            mean, deviation = frames.mean(), frames.var(unbiased=False).add(1e-5).sqrt()
            expected = (frames - mean) / deviation
            assert (result[num_reference_rows:, group] - expected).abs().max() < 1e-5
    if num_reference_rows:
        assert torch.equal(y[:, 0], plain.view_as(x)[:, 0])
    assert torch.equal(model.conv_norm_out(x.flatten(0, 1)), plain)
    assert "forward" not in vars(model.conv_norm_out)
