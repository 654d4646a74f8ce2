"""Brings window attention (section 4.2) into the motion modules of a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter
from stillmotion.adapters.diffusers_sites import (
    Block,
    ProjectedAttention,
    TemporalSite,
    replace_attention,
    silence_positions,
    temporal_attentions,
)
from stillmotion.animatezero.attention import project
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.temporal_control import (
    Pool,
    decomposed_pool,
    src_index,
    window_attention,
)
from stillmotion.animatezero.windows import (
    EndBlend,
    end_index,
    overlapping_attention,
    sliding_attention,
)

_EVERYWHERE: tuple[Block, ...] = ("down", "mid", "up")
_Attend = Callable[[TemporalSite, ProjectedAttention, Tensor], Tensor]


class WindowAttention(Adapter):
    """Replaces attention over frames in both attentions of motion modules.

    In the chosen blocks by window attention; in all others by attention within overlapping
    windows, if the clip is longer than a window or the frames' positions are not the usual ones.
    There the tokens arrive without positions, which are added here.
    """

    def __init__(
        self, settings: AnimateZeroSettings, num_frames: int, ends: EndBlend | None = None
    ) -> None:
        self._settings, self._ends = settings, ends
        self._length = settings.window_of(num_frames)
        self._everywhere = num_frames > self._length or settings.speed != 1

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return (*self._windowed(model), *self._overlapping(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        corrected = self._settings.window == "corrected"
        for site in self._windowed(model).values():
            self._replace(site, self._corrected if corrected else self._uncorrected, undo)
        for site in self._overlapping(model).values():
            self._replace(site, self._global, undo)

    def _windowed(self, model: nn.Module) -> dict[str, TemporalSite]:
        blocks = () if self._settings.window == "off" else self._settings.window_blocks
        return temporal_attentions(model, blocks)

    def _overlapping(self, model: nn.Module) -> dict[str, TemporalSite]:
        if not self._everywhere:
            return {}
        windowed = self._windowed(model)
        everywhere = temporal_attentions(model, _EVERYWHERE)
        return {name: site for name, site in everywhere.items() if name not in windowed}

    def _replace(self, site: TemporalSite, attend: _Attend, undo: ExitStack) -> None:
        replace_attention(site.attention, partial(attend, site), undo)
        silence_positions(site.pos_embed, undo)

    def _uncorrected(self, site: TemporalSite, layer: ProjectedAttention, z: Tensor) -> Tensor:
        p = site.positions(z, z.shape[1], self._settings.speed)
        q, k, v = (layer.split(project(z, p, w)) for w in (layer.to_q, layer.to_k, layer.to_v))
        return layer.output(window_attention(q, k, v, src_index(z.shape[1], device=z.device)))

    def _corrected(self, site: TemporalSite, layer: ProjectedAttention, z: Tensor) -> Tensor:
        num_frames, length = z.shape[1], self._length
        p = site.positions(z, length, self._settings.speed)
        keys, values = (
            Pool(*map(layer.split, decomposed_pool(z, p, w))) for w in (layer.to_k, layer.to_v)
        )
        last = self._settings.query_position == "last"
        q = layer.split(project(z, p[-1] if last else p, layer.to_q))
        src = src_index(num_frames, length)
        from_start = sliding_attention(q, keys, values, src)
        if self._ends is None:
            return layer.output(from_start)
        q = layer.split(project(z, p[0], layer.to_q))
        from_end = sliding_attention(q, keys, values, end_index(num_frames, length))
        return layer.output(self._ends.mix(from_start, from_end, (-1, 1)))

    def _global(self, site: TemporalSite, layer: ProjectedAttention, z: Tensor) -> Tensor:
        p = site.positions(z, self._length, self._settings.speed)
        q, k, v = (
            Pool(*map(layer.split, decomposed_pool(z, p, w)))
            for w in (layer.to_q, layer.to_k, layer.to_v)
        )
        return layer.output(overlapping_attention(q, k, v))
