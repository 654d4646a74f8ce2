"""Stages of a few thousand weights, on which every contender runs in milliseconds."""

from __future__ import annotations

from typing import Any

import torch
from tests.dynamicrafter.tiny_pipeline import SIZE, TRAINED_FRAMES, tiny_dynamicrafter
from tests.tiny_models import tiny_pipeline

from stillmotion.benchmarks.contenders import Arena, Contender
from stillmotion.benchmarks.contest import Rules
from stillmotion.benchmarks.random_networks import Tower, Widths
from stillmotion.benchmarks.stages import ClipSpec, ClipStage, VideoStage

CPU = torch.device("cpu")
RULES = Rules(device=CPU, dtype=torch.float32, rounds=2, warmups=0)
ONCE = Rules(device=CPU, dtype=torch.float32, rounds=1, warmups=0)
NARROW = Widths(
    channels=(32, 64), layers_per_block=1, norm_num_groups=8, vae_channels=(8, 16, 16, 16),
    text=Tower(width=16, layers=1, heads=2), video_text=Tower(width=24, layers=1, heads=2),
    vision=Tower(width=16, layers=1, heads=2), vision_size=28, context_layers=1, context_heads=2,
    head_dim=8, heads=2,
)  # fmt: skip


def clip_stage(dtype: torch.dtype = torch.float32) -> ClipStage:
    pipe = tiny_pipeline()
    pipe.to(dtype=dtype)
    return ClipStage(pipe=pipe, clip=ClipSpec(prompt="a dot", num_frames=4, height=8, width=8))


def video_stage(dtype: torch.dtype = torch.float32) -> VideoStage:
    pipe = tiny_dynamicrafter()
    pipe.to(dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    clip = ClipSpec(prompt="a dot", num_frames=TRAINED_FRAMES, height=SIZE, width=SIZE)
    return VideoStage(pipe=pipe, clip=clip, guidance_rescale=0.7)


def arena(build: Any, contenders: tuple[Contender, ...], num_steps: int = 1) -> Arena:
    return Arena(
        name="arena", title="a clip", build=build, contenders=contenders, num_steps=num_steps
    )
