"""What the counts of all full-size networks have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import torch
from torch import Tensor

from stillmotion.benchmarks.call import Call
from stillmotion.benchmarks.counting import Counts, counted
from stillmotion.evaluation.memory import FULL_SIZE, Networks, full_size_networks
from stillmotion.kernels.choice import fused_on_meta

DTYPE = torch.float16
"""Of weights and activations; bfloat16 has as many bytes."""
NUM_FRAMES = FULL_SIZE.num_frames
NUM_STEPS = 2
"""Of the clips whose calls are counted."""
TEXT_TOKENS = 77
LATENT_CHANNELS = 4
DECODE = "decode"
"""Name of the call that decodes one frame."""
UNFUSED = "-unfused"
"""Ends the names of calls that are counted with PyTorch's operators alone."""

_VAE_FACTOR = 8


def with_and_without_kernels(
    model: str,
    name: str,
    title: str,
    count: Callable[[], Counts],
    compared_with: str | None = None,
) -> Iterator[Call]:
    """The same call twice: with the fused kernels, and with PyTorch's operators alone."""

    def fused() -> Counts:
        with fused_on_meta():
            return count()

    for call, words, compute in (
        (name, "fused kernels", fused),
        (name + UNFUSED, "PyTorch's operators alone", count),
    ):
        yield Call(
            model=model, name=call, title=f"{title}; {words}", count=compute,
            compared_with=compared_with,
        )  # fmt: skip


def decode_call(size: tuple[int, int]) -> Counts:
    """The decoder as `models.decoding` calls it, before pixels go to the host.

    DynamiCrafter's VAE is Stable Diffusion's.
    """
    vae = networks().vae
    latents = meta(1, LATENT_CHANNELS, *size)
    return counted(lambda: vae.decode(latents).sample)[1]


@cache
def networks() -> Networks:
    """Stable Diffusion 1.5 with AnimateDiff v2."""
    made = full_size_networks(DTYPE)
    made.unet.eval()
    made.vae.eval()
    return made


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Of a picture's size in pixels."""
    return height // _VAE_FACTOR, width // _VAE_FACTOR


def meta(*shape: int) -> Tensor:
    """A tensor without contents."""
    return torch.empty(*shape, dtype=DTYPE, device="meta")
