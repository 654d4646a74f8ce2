"""Brings window attention (section 4.2) into the motion modules of a U-Net."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter
from stillmotion.adapters.diffusers_sites import (
    Block,
    ProjectedAttention,
    TemporalSite,
    silence_positions,
    temporal_attentions,
)
from stillmotion.adapters.lean_frames import (
    AttendFrames,
    frames_output,
    replace_frame_attention,
    split_frames,
)
from stillmotion.animatezero.attention import project
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.temporal_control import position_part, src_index
from stillmotion.animatezero.windows import EndBlend, end_index
from stillmotion.kernels.choice import is_fused
from stillmotion.kernels.maps import Views, overlapping_views
from stillmotion.kernels.temporal import temporal_attention

_EVERYWHERE: tuple[Block, ...] = ("down", "mid", "up")


class WindowAttention(Adapter):
    """Replaces attention over frames in both attentions of motion modules.

    In the chosen blocks by window attention; in all others by attention within overlapping
    windows, if the clip is longer than a window, the frames' positions are not the usual ones, or
    it is wanted `everywhere`.  There the tokens arrive without positions, which come in here.
    """

    def __init__(
        self,
        settings: AnimateZeroSettings,
        num_frames: int,
        ends: EndBlend | None = None,
        *,
        everywhere: bool = False,
    ) -> None:
        self._settings, self._ends, self._num_frames = settings, ends, num_frames
        self._length = settings.window_of(num_frames)
        self._everywhere = everywhere or num_frames > self._length or settings.speed != 1

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return (*self._windowed(model), *self._overlapping(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for site in self._windowed(model).values():
            self._replace(site, self.windowed(site), undo)
        views = Mapped(overlapping_views(self._num_frames, self._length))
        for site in self._overlapping(model).values():
            self._replace(site, self._attend(site, views), undo)

    def windowed(self, site: TemporalSite) -> AttendFrames:
        """What takes the place of an attention in the chosen blocks: (b f n c) -> (b f n c)."""
        if self._settings.window == "uncorrected":
            return partial(_uncorrected, site, src_index(self._num_frames), self._settings.speed)
        return self._attend(site, Mapped(self._windows()))

    def _attend(self, site: TemporalSite, views: Mapped) -> AttendFrames:
        length, speed = min(self._length, self._num_frames), self._settings.speed
        return PositionedAttention(site, views, length=length, speed=speed)

    def _windowed(self, model: nn.Module) -> dict[str, TemporalSite]:
        blocks = () if self._settings.window == "off" else self._settings.window_blocks
        return temporal_attentions(model, blocks)

    def _overlapping(self, model: nn.Module) -> dict[str, TemporalSite]:
        if not self._everywhere:
            return {}
        windowed = self._windowed(model)
        everywhere = temporal_attentions(model, _EVERYWHERE)
        return {name: site for name, site in everywhere.items() if name not in windowed}

    def _replace(self, site: TemporalSite, attend: AttendFrames, undo: ExitStack) -> None:
        replace_frame_attention(site.attention, attend, undo)
        silence_positions(site.pos_embed, undo)

    def _windows(self) -> Views:
        """Windows that end at each frame, blended with those that begin there if an end is given.

        The query has the position of its own frame in the window: the last slot, or the first.
        """
        num_frames, length = self._num_frames, self._length
        last = torch.full((num_frames,), length - 1)
        own = last if self._settings.query_position == "last" else torch.arange(num_frames)
        src = src_index(num_frames, length)
        if self._ends is None:
            return Views(src[None], own[None], torch.ones(1, num_frames, dtype=torch.float64))
        weights = self._ends.weights
        return Views(
            torch.stack([src, end_index(num_frames, length)]),
            torch.stack([own, torch.zeros_like(last)]),
            torch.stack([1 - weights, weights]),
        )


class Mapped:
    """Views of the frames as `temporal_attention` wants them, moved there once."""

    def __init__(self, views: Views) -> None:
        self.query_slot = views.query_slot
        only, src = len(views.src) == 1, views.src
        num_frames, length = src.shape[1:]
        # All frames see all frames in order: that needs no map.
        is_global = length == num_frames and bool((src == torch.arange(length)).all())
        self._src = None if only and is_global else src[0] if only else src
        self._weights = None if only else views.weights
        self._there: dict[torch.device, tuple[Tensor | None, Tensor | None]] = {}

    def beside(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The map and the weights of views: on the host for plain operators, else beside `x`."""
        if not is_fused(x):
            return self._src, self._weights
        there = None if torch.compiler.is_compiling() else self._there.get(x.device)
        if there is None:
            there = (
                None if self._src is None else self._src.to(x.device, torch.int32),
                None if self._weights is None else self._weights.to(x.device, torch.float32),
            )
            if not torch.compiler.is_compiling():
                self._there[x.device] = there
        return there


@dataclass(frozen=True, kw_only=True)
class _Projected:
    """Position parts of queries (v heads f d), or without views, keys and values (heads l d)."""

    q: Tensor
    k: Tensor
    v: Tensor


@dataclass
class PositionedAttention:
    """Attention over frames whose positions come in as projected parts (Eq. 7), computed once.

    They are kept as long as the network is changed, in which weights must not change; LoRAs that
    are not merged may, so that with them nothing is kept.
    """

    site: TemporalSite
    views: Mapped
    length: int = field(kw_only=True)
    speed: float = field(kw_only=True)
    _known: _Projected | None = field(default=None, init=False)

    def __call__(self, layer: ProjectedAttention, z: Tensor) -> Tensor:
        """All of the attention: tokens without positions (b f n c) -> (b f n c)."""
        q, k, v = (split_frames(layer, part) for part in layer.to_qkv(z))
        positions = self._positions(layer, z)
        src, weights = self.views.beside(z)
        out = temporal_attention(
            q, k, v, src,
            key_positions=positions.k, value_positions=positions.v, query_positions=positions.q,
            weights=weights,
        )  # fmt: skip
        return frames_output(layer, out)

    def _positions(self, layer: ProjectedAttention, z: Tensor) -> _Projected:
        # Compiled, they are part of the graph: keeping them would change it after the first step.
        keeps = layer.is_fixed and not torch.is_grad_enabled()
        keeps = keeps and not torch.compiler.is_compiling()
        known = self._known if keeps else None
        if known is None or known.k.device != z.device or known.k.dtype != z.dtype:
            p = self.site.positions(z, self.length, self.speed)
            q, k, v = (
                layer.split(position_part(p, w)).contiguous()
                for w in (layer.to_q, layer.to_k, layer.to_v)
            )
            slots = self.views.query_slot.to(z.device)  # v f
            own = q[:, slots].transpose(0, 1).contiguous()  # v heads f d
            known = _Projected(q=own if len(own) > 1 else own[0], k=k, v=v)
            if keeps:
                self._known = known
        return known


def _uncorrected(
    site: TemporalSite, src: Tensor, speed: float, layer: ProjectedAttention, z: Tensor
) -> Tensor:
    """Window attention with tokens that have their own positions (Eqs. 4 and 5)."""
    p = site.positions(z, z.shape[1], speed).unsqueeze(1)  # f 1 c
    q, k, v = (split_frames(layer, project(z, p, w)) for w in (layer.to_q, layer.to_k, layer.to_v))
    there = src.to(z.device, torch.int32) if is_fused(z) else src
    return frames_output(layer, temporal_attention(q, k, v, there))
