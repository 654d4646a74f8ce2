"""What each saving leaves out of a step of DynamiCrafter."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from stillmotion.adapters.lean_savings import Savings
from stillmotion.benchmarks.counting import Tally
from stillmotion.benchmarks.full_size_parts import NUM_FRAMES
from stillmotion.benchmarks.full_size_video import video_call
from stillmotion.kernels.choice import fused_on_meta
from stillmotion.models.dynamicrafter_variants import Variant


def step(savings: Savings) -> Tally:
    """A later step of the 256 network with the fused kernels; counted once for each `savings`."""
    with fused_on_meta():
        return video_call(Variant.V256, 1, savings).total


def test_the_branches_share_what_comes_before_the_first_text() -> None:
    """conv_in and its temporal transformer; the first ResNet block with its temporal convolution;
    the first attention, which needs no text.
    """
    only = replace(Savings.none(), trunk=True)
    saved = step(Savings.none()).flops - step(only).flops
    n, c, f, embedding = 32 * 32, 320, NUM_FRAMES, 1280
    wide = 8 * 64  # of the temporal transformer at the input, which has 8 heads
    convolutions = 2 * n * f * c * (9 * 8 + 2 * 9 * c + 4 * 3 * c)
    # Two attentions and a feed-forward layer between two projections.
    over_frames = 2 * n * f * (2 * c * wide + 2 * 4 * wide**2 + 3 * 4 * wide**2)
    over_frames += 2 * 4 * n * f**2 * wide
    spatial = 2 * n * f * 5 * c**2 + 4 * f * n**2 * c
    assert saved == convolutions + 2 * f * embedding * c + over_frames + spatial


@pytest.mark.parametrize("saving", [field.name for field in fields(Savings)])
def test_each_saving_saves(saving: str) -> None:
    """A saving that is lost shows in FLOPs or bytes."""
    with_it, lost = step(Savings()), step(replace(Savings(), **{saving: False}))
    assert lost.flops >= with_it.flops
    assert lost.bytes_moved > 1.001 * with_it.bytes_moved
