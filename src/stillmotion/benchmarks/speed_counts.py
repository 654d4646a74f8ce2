"""What approximations save at full size, counted: reused features, and ways to show latents.

FLOPs as in `counting.py`, of networks without weights on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.animatezero.preview import LatentPreview
from stillmotion.benchmarks.counting import counted
from stillmotion.diffusion.speed import SpeedSettings, call_plan
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.evaluation.memory import FULL_SIZE, full_size_networks

DTYPE = torch.float16
NUM_FRAMES = FULL_SIZE.num_frames
_VAE_FACTOR, _LATENT_CHANNELS, _TEXT_TOKENS, _IMAGE_TOKENS = 8, 4, 77, 16
_VIDEO_SIZE = (320, 512)


def reuse_flops(network: str, kept_skips: int) -> tuple[int, int]:
    """FLOPs of a guided call of diffusers' U-Net in full, and of one that reuses.

    `network` is "animatezero" (Stable Diffusion 1.5 with AnimateDiff v2, 16 frames of 512 x 512)
    or "dynamicrafter-512" (320 x 512).
    """
    unet, call = _animatezero() if network == "animatezero" else _dynamicrafter()
    reuse = FeatureReuse(kept_skips)
    flops = []
    with torch.no_grad(), adapted(unet, [reuse]):
        for reuses in (False, True):
            with reuse.call([0, 1], reuses=reuses):
                flops.append(counted(call)[1].total.flops)
    return flops[0], flops[1]


def work(speed: SpeedSettings, num_steps: int, network: str) -> float:
    """Share of the exact run's FLOPs in the U-Net that a preset needs for `num_steps` steps.

    The conditional half alone is counted as half a guided call.
    """
    full, reusing = reuse_flops(network, speed.kept_skips)
    calls = call_plan(speed, [1] * num_steps)
    spent = sum((reusing if c.reuses else full) * (2 if c.guided else 1) for c in calls)
    return spent / (2 * full * num_steps)


def showing_flops() -> dict[str, int]:
    """FLOPs to show one frame of 512 x 512: by the VAE, by TAESD, by the linear map."""
    latents = _meta(1, _LATENT_CHANNELS, *_latent(FULL_SIZE.height, FULL_SIZE.width))
    vae = full_size_networks(DTYPE).vae
    with torch.device("meta"):
        tiny = nn.Module.to(AutoencoderTiny().eval(), dtype=DTYPE)
        linear = LatentPreview(torch.empty(_LATENT_CHANNELS, 3), torch.empty(3))
    ways: dict[str, Callable[[], Any]] = {
        "vae": lambda: vae.decode(latents).sample,
        "taesd": lambda: tiny.decode(latents).sample,
        "linear": lambda: linear.colours(latents),
    }
    return {name: counted(way)[1].total.flops for name, way in ways.items()}


@cache
def _animatezero() -> tuple[nn.Module, Callable[[], Any]]:
    unet: Any = full_size_networks(DTYPE).unet
    unet.eval()
    z = _meta(2, _LATENT_CHANNELS, NUM_FRAMES, *_latent(FULL_SIZE.height, FULL_SIZE.width))
    text = _meta(2 * NUM_FRAMES, _TEXT_TOKENS, 768)
    return unet, lambda: unet(z, torch.tensor(0), encoder_hidden_states=text, return_dict=False)


@cache
def _dynamicrafter() -> tuple[nn.Module, Callable[[], Any]]:
    with torch.device("meta"):
        unet = nn.Module.to(DynamiCrafterUNet().eval(), dtype=DTYPE)
    z = _meta(2, 2 * _LATENT_CHANNELS, NUM_FRAMES, *_latent(*_VIDEO_SIZE))
    text = _meta(2, _TEXT_TOKENS, 1024)
    image = _meta(2, NUM_FRAMES, _IMAGE_TOKENS, 1024)
    pace = torch.full((2,), 8, device="meta")
    return unet, lambda: unet(z, torch.tensor(0), text, image_tokens=image, motion=pace)


def _latent(height: int, width: int) -> Sequence[int]:
    return height // _VAE_FACTOR, width // _VAE_FACTOR


def _meta(*shape: int) -> Tensor:
    return torch.empty(*shape, dtype=DTYPE, device="meta")
