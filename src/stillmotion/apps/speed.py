"""A quick measurement of what a device can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stillmotion.animatezero.loading import load_model

#: Counted for AnimateZero on Stable Diffusion 1.5 with AnimateDiff v2: one guided U-Net call on
#: 16 frames of 512 x 512, and decoding them.
FULL_SIZE_TFLOP_PER_STEP, FULL_SIZE_TFLOP_DECODE = 35.5, 40.2
_STEPS = 25


@dataclass(frozen=True)
class Speed:
    """Measured and derived times; the full-size one is an estimate from arithmetic alone."""

    device: str
    gflops: float
    miniature_step_seconds: float
    miniature_clip_seconds: float
    full_clip_seconds: float


def measure_speed(device: torch.device) -> Speed:
    """A matrix product and one U-Net call of the miniature; takes a few seconds."""
    gflops = _matrix_gflops(device)
    step = _miniature_step(device)
    tflop = _STEPS * FULL_SIZE_TFLOP_PER_STEP + FULL_SIZE_TFLOP_DECODE
    return Speed(
        device=str(device),
        gflops=gflops,
        miniature_step_seconds=step,
        miniature_clip_seconds=_STEPS * step,
        full_clip_seconds=1000 * tflop / gflops,
    )


def _matrix_gflops(device: torch.device, size: int = 1024) -> float:
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    size = size if device.type == "cpu" else 8 * size
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _seconds(lambda: matrix @ matrix, device) / 1e9


def _miniature_step(device: torch.device) -> float:
    pipeline = load_model("miniature", device=str(device)).pipeline
    unet = pipeline.unet
    size = unet.config.sample_size
    latents = torch.zeros(2, unet.config.in_channels, 16, size, size, device=device, dtype=unet.dtype)
    text = torch.zeros(
        32, pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim,
        device=device, dtype=unet.dtype,
    )  # fmt: skip
    with torch.inference_mode():
        return _seconds(lambda: unet(latents, 500, text), device)


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of `work`, after one call that does not count."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    once()
    return sorted(once() for _ in range(repeats))[repeats // 2]
