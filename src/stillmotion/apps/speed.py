"""A quick measurement of what a device can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from stillmotion.animatezero.loading import LoadedModel, load_model

#: Counted for AnimateZero on Stable Diffusion 1.5 with AnimateDiff v2: one guided U-Net call on
#: 16 frames of 512 x 512, and decoding them.
FULL_SIZE_TFLOP_PER_STEP, FULL_SIZE_TFLOP_DECODE = 35.5, 40.2
FULL_SIZE_STEPS = 25


@dataclass(frozen=True)
class Speed:
    """Measured and derived times; the full-size one is an estimate from arithmetic alone."""

    device: str
    precision: str
    threads: int
    gflops: float
    num_frames: int
    num_steps: int
    miniature_step_seconds: float
    miniature_clip_seconds: float
    full_clip_seconds: float


def measure_speed(device: torch.device) -> Speed:
    """A matrix product and one U-Net call of the miniature; takes a few seconds.

    Raises:
        ModelError: the miniature cannot be loaded.
    """
    model = load_model("miniature", device=str(device))
    says = model.folder.description
    dtype = model.pipeline.unet.dtype
    gflops = _matrix_gflops(device, dtype)
    step = _step_seconds(model)
    tflop = FULL_SIZE_STEPS * FULL_SIZE_TFLOP_PER_STEP + FULL_SIZE_TFLOP_DECODE
    return Speed(
        device=str(device),
        precision=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        gflops=gflops,
        num_frames=says.num_frames,
        num_steps=says.num_inference_steps,
        miniature_step_seconds=step,
        miniature_clip_seconds=says.num_inference_steps * step,
        full_clip_seconds=1000 * tflop / gflops,
    )


def _matrix_gflops(device: torch.device, dtype: torch.dtype) -> float:
    size = 1024 if device.type == "cpu" else 8192
    matrix = torch.ones(size, size, device=device, dtype=dtype)
    return 2 * size**3 / _seconds(lambda: matrix @ matrix, device) / 1e9


def _step_seconds(model: LoadedModel) -> float:
    """One guided U-Net call (two rows per frame) of the model's own clip."""
    unet, tokenizer = model.pipeline.unet, model.pipeline.tokenizer
    frames, size = model.folder.description.num_frames, unet.config.sample_size
    like = {"device": unet.device, "dtype": unet.dtype}
    latents = torch.zeros(2, unet.config.in_channels, frames, size, size, **like)
    width = unet.config.cross_attention_dim
    text = torch.zeros(2 * frames, tokenizer.model_max_length, width, **like)
    with torch.inference_mode():
        return _seconds(lambda: unet(latents, 500, text), unet.device)


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median seconds of `work`, after one call that does not count."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start

    once()
    return sorted(once() for _ in range(repeats))[repeats // 2]
