"""Attention over frames by itself: the literal pool, ours, and the ordinary one without window.

One attention of a motion module with its projections, on the tokens of some pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import UNetMotionModel
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted
from stillmotion.adapters.diffusers_sites import TemporalSite, temporal_attentions
from stillmotion.animatezero.control import control_adapters
from stillmotion.animatezero.settings import PAPER
from stillmotion.benchmarks.contenders import Contender, Made, Prepared
from stillmotion.benchmarks.literal_animatezero import literal_adapters
from stillmotion.benchmarks.random_networks import randomise
from stillmotion.runtime.seeds import new_weights

ATTENTION = "attention"
POOL, OURS = "pool", "ours"
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class AttentionStage:
    """A network with one motion module, and tokens for its first attention."""

    unet: nn.Module
    site: TemporalSite
    tokens: Tensor
    """(n f c), without positions."""


def attention_stage(
    dtype: torch.dtype,
    *,
    device: torch.device,
    num_pixels: int = 512,
    num_frames: int = 16,
    channels: int = 320,
) -> AttentionStage:
    """The finest level of AnimateDiff's encoder, weights random."""
    with new_weights(_SEED), torch.device(device):
        unet = UNetMotionModel(
            down_block_types=("DownBlockMotion",), up_block_types=("UpBlockMotion",),
            block_out_channels=(channels,), layers_per_block=1, motion_num_attention_heads=8,
            num_attention_heads=8, cross_attention_dim=channels, motion_max_seq_length=32,
        )  # fmt: skip
    nn.Module.to(randomise(unet, _SEED), dtype=dtype)
    rng = torch.Generator().manual_seed(_SEED)
    tokens = torch.randn(num_pixels, num_frames, channels, generator=rng).to(device, dtype)
    site = next(iter(temporal_attentions(unet, ("down",)).values()))
    return AttentionStage(unet=unet, site=site, tokens=tokens)


def attention_contenders() -> tuple[Contender, ...]:
    """All of them."""
    return (
        Contender(
            name=POOL, title="the pool of appendix A.2", group=ATTENTION, label="reference",
            prepare=_literal,
        ),
        Contender(
            name=OURS, title="window attention by this package", group=ATTENTION, label="exact",
            against=POOL, prepare=_ours,
        ),
        Contender(
            name="ordinary", title="ordinary attention over frames, no window", group=ATTENTION,
            label="other", prepare=partial(_run, adapters=()),
        ),
    )  # fmt: skip


def _literal(stage: AttentionStage) -> Prepared:
    return _run(stage, literal_adapters(stage.tokens.shape[1]))


def _ours(stage: AttentionStage) -> Prepared:
    context = FrameContext(num_frames=stage.tokens.shape[1])
    return _run(stage, control_adapters(PAPER, context))


def _run(stage: AttentionStage, adapters: Sequence[Adapter]) -> Prepared:
    """The attention as the adapters have it; the number of steps says nothing here."""

    @torch.no_grad()
    def run(num_steps: int) -> Made:
        with adapted(stage.unet, adapters):
            return Made(latents=stage.site.attention(stage.site.pos_embed(stage.tokens)))

    return Prepared(run=run, networks=(stage.site.attention,))
