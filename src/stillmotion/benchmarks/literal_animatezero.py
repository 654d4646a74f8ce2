"""AnimateZero as the paper writes it down, operation by operation: what ours is measured against.

It lives with the benchmark and is no part of the product.  Three things are done literally:

* the still is drawn in a pass of its own, with everything computed for both halves of guidance;
* in spatial self-attention keys and values are projected for every frame, and those of frame 1
  repeated for all (section 4.1);
* window attention builds the pool of appendix A.2, every frame's token with every position: f²
  tokens are projected to queries, keys and values, and each frame's window is gathered from them.

Symbols as in `animatezero/temporal_control.py`.  The results are those of `AnimateZeroSettings`
without drift correction, but for rounding.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.diffusers_sites import (
    Block,
    MotionBypass,
    PerFrameNorm,
    ProjectedAttention,
    TemporalSite,
    replace_attention,
    silence_positions,
    spatial_self_attentions,
    temporal_attentions,
)
from stillmotion.adapters.text_encoder import encode_prompt
from stillmotion.benchmarks.contenders import Made, Prepared
from stillmotion.benchmarks.stages import ClipStage, networks_of
from stillmotion.models.decoding import decode
from stillmotion.runtime.seeds import generator

_BLOCKS: tuple[Block, ...] = ("down",)
"""Where the window applies, as in the paper."""


class RepeatedKeysValues(Adapter):
    """Spatial self-attention with keys and values of frame 1, repeated for every frame."""

    def __init__(self, num_frames: int) -> None:
        self._context = FrameContext(num_frames=num_frames)

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(spatial_self_attentions(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for attention in spatial_self_attentions(model).values():
            replace_attention(attention, self._attend, undo)

    def _attend(self, layer: ProjectedAttention, x: Tensor) -> Tensor:
        q = layer.split(layer.to_q(x))
        k, v = (layer.split(self._of_frame_1(to(x))) for to in (layer.to_k, layer.to_v))
        return layer.output(functional.scaled_dot_product_attention(q, k, v))

    def _of_frame_1(self, x: Tensor) -> Tensor:
        rows = self._context.unfold(x)
        return rows[:, [0] * self._context.num_frames].flatten(0, 1)


class LiteralPool(Adapter):
    """Window attention from the pool of all pairs of frame and position (appendix A.2)."""

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(temporal_attentions(model, _BLOCKS))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for site in temporal_attentions(model, _BLOCKS).values():
            replace_attention(site.attention, partial(self._attend, site), undo)
            silence_positions(site.pos_embed, undo)

    def _attend(self, site: TemporalSite, layer: ProjectedAttention, z: Tensor) -> Tensor:
        """`z` (n f c) -> (n f c)."""
        f = self._num_frames
        pool = z[:, :, None] + site.positions(z, f)  # n i j c: frame i with position j
        q, k, v = layer.to_q(pool), layer.to_k(pool), layer.to_v(pool)
        frames, slots = literal_source(f)
        # Frame i's query has position f; its window holds f pairs, slot s with position s.
        q = layer.split(q[:, :, -1:])  # n i heads 1 d
        k, v = (layer.split(each[:, frames, slots]) for each in (k, v))  # n i heads s d
        out = functional.scaled_dot_product_attention(q, k, v)
        return layer.output(out).squeeze(2)


def literal_source(num_frames: int) -> tuple[list[list[int]], list[list[int]]]:
    """Which pairs (frame, position) the window of each frame holds: two tables, row i, column s.

    Eq. 6, counted from 1: frame max(1, s − (f − i)) in slot s.
    """
    f = num_frames
    counted_from_1 = range(1, f + 1)
    frames = [[max(1, s - (f - i)) - 1 for s in counted_from_1] for i in counted_from_1]
    return frames, [[s - 1 for s in counted_from_1] for _ in counted_from_1]


def literal_adapters(num_frames: int) -> list[Adapter]:
    """All that the literal way changes in the network."""
    return [PerFrameNorm(), RepeatedKeysValues(num_frames), LiteralPool(num_frames)]


def literal_prepared(stage: ClipStage) -> Prepared:
    """The literal way of making the stage's clip, ready to run."""
    return Prepared(run=partial(literal_clip, stage), networks=networks_of(stage.pipe))


@torch.no_grad()
def literal_clip(stage: ClipStage, num_steps: int) -> Made:
    """Draw a still, animate it, and decode all frames."""
    pipe, clip, device = stage.pipe, stage.clip, stage.device
    rng = generator(clip.seed)
    shape = stage.latent_shape
    still_noise, noise = (
        torch.randn(each, generator=rng).to(device, pipe.unet.dtype)
        for each in ((shape[0], shape[1], 1, *shape[3:]), shape)
    )
    text = encode_prompt(pipe, clip.prompt, "", uses_guidance=True)
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(num_steps, device=device)
    with adapted(pipe.unet, [MotionBypass()]):
        z = still_noise * scheduler.init_noise_sigma
        trajectory = [z]
        for timestep in scheduler.timesteps:
            z = _denoised(stage, scheduler, z, timestep, text)
            trajectory.append(z)
    decode(pipe.vae, z)  # what is chosen is the picture
    with adapted(pipe.unet, literal_adapters(clip.num_frames)):
        z = _with_first(noise * scheduler.init_noise_sigma, trajectory[0])
        for index, timestep in enumerate(scheduler.timesteps):
            z = _with_first(_denoised(stage, scheduler, z, timestep, text), trajectory[index + 1])
    return Made(latents=z, frames=decode(pipe.vae, z))


def _denoised(
    stage: ClipStage, scheduler: Any, z: Tensor, timestep: Tensor, text: Tensor
) -> Tensor:
    """One step of z (1 c f h w) with guidance, as diffusers' pipelines make it."""
    both = scheduler.scale_model_input(torch.cat([z] * 2), timestep)
    rows = text.repeat_interleave(z.shape[2], dim=0)
    prediction = stage.pipe.unet(both, timestep, encoder_hidden_states=rows).sample
    unconditional, conditional = prediction.chunk(2)
    guided = unconditional + stage.clip.guidance_scale * (conditional - unconditional)
    result: Tensor = scheduler.step(guided, timestep, z).prev_sample
    return result


def _with_first(z: Tensor, still: Tensor) -> Tensor:
    return torch.cat([still, z[:, :, 1:]], dim=2)
