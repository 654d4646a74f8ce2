"""Frames of a clip that are given: kept at their own latents while the others are denoised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.animatezero.spatial_control import insert_frame
from stillmotion.diffusion.drift import correct_drift, level_colours


@dataclass(frozen=True)
class Anchor:
    """A given frame: its number in the clip, from 0, and its own trajectory (s+1 c h w)."""

    frame: int
    trajectory: Tensor

    def at(self, step: int) -> Tensor:
        """Its latents before step `step` (1 c h w), or after the last."""
        return self.trajectory[step : step + 1]


class Anchors:
    """The given frames of one clip, used as the settings say."""

    def __init__(self, anchors: Sequence[Anchor], settings: AnimateZeroSettings) -> None:
        self._inserted = anchors if settings.insert_latents else ()
        self._references = anchors if settings.needs_reference_row else ()
        self._corrects = settings.drift_correction

    @property
    def num_references(self) -> int:
        """Rows that run beside the video."""
        return len(self._references)

    @property
    def has_both_ends(self) -> bool:
        """Whether the last frame is given as well."""
        return len(self._inserted) > 1

    def insert(self, latents: Tensor, step: int) -> Tensor:
        """`latents` (1 c f h w) before step `step`, with the given frames in their places."""
        for anchor in self._inserted:
            latents = insert_frame(latents, anchor.at(step), anchor.frame)
        return latents

    def correct(self, latents: Tensor, step: int) -> Tensor:
        """The other frames corrected by what the given ones came out as; see `correct_drift`."""
        if not self._corrects or latents.shape[2] == 1:
            return latents
        return correct_drift(latents, {one.frame: one.at(step) for one in self._inserted})

    def level(self, z_0: Tensor, step: int) -> Tensor:
        """The frames, after the last step, in the colours of the given ones; `level_colours`."""
        if not self._corrects or z_0.shape[2] == 1:
            return z_0
        return level_colours(z_0, {one.frame: one.at(step) for one in self._inserted})

    def references(self, step: int) -> Tensor | None:
        """What runs beside the video (1 c k h w), if anything does."""
        rows = [anchor.trajectory[step] for anchor in self._references]
        return torch.stack(rows, dim=1).unsqueeze(0) if rows else None
