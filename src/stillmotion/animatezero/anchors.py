"""Frames of a clip that follow their own latents while the others are denoised.

They are given (`Anchor`), or frame 1 is a still that is drawn meanwhile (`DrawnAnchor`).
"""

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


class DrawnAnchor:
    """A still that is drawn while its clip is made, one step ahead of the frames: frame 1.

    Its row runs beside them through the same calls of the network and the scheduler, which cost
    little more for it, where drawing it first costs a call of its own for every step.
    """

    frame = 0

    def __init__(self, z_t: Tensor) -> None:
        """`z_t` (1 c h w): its latents before the first step."""
        self._latents = [z_t]

    def at(self, step: int) -> Tensor:
        """Its latents before step `step` (1 c h w), or after the last that was made."""
        return self._latents[step]

    def put(self, latents: Tensor, step: int) -> None:
        """Its latents before step `step`; what is known already, by time travel, stays."""
        if step == len(self._latents):
            self._latents.append(latents)


class Anchors:
    """These frames of one clip, used as the settings say."""

    def __init__(
        self, anchors: Sequence[Anchor | DrawnAnchor], settings: AnimateZeroSettings
    ) -> None:
        self._inserted = anchors if settings.insert_latents else ()
        given = [one for one in anchors if isinstance(one, Anchor)]
        self._drawn = [one for one in anchors if isinstance(one, DrawnAnchor)]
        self._references = given if settings.needs_reference_row else []
        self._corrects = settings.drift_correction

    @property
    def num_references(self) -> int:
        """Rows that run beside the video."""
        return len(self._references) + len(self._drawn)

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
        rows = [anchor.at(step) for anchor in self._references]
        return torch.stack(rows, dim=2) if rows else None

    def with_drawn(self, latents: Tensor, step: int) -> Tensor:
        """`latents` (1 c f h w) before step `step`, behind the still that is drawn beside them."""
        rows = [one.at(step).unsqueeze(2) for one in self._drawn]
        return torch.cat([*rows, latents], dim=2) if rows else latents

    def without_drawn(self, rows: Tensor, step: int) -> Tensor:
        """The frames of `with_drawn`, denoised to before step `step`; the still is kept."""
        for place, one in enumerate(self._drawn):
            one.put(rows[:, :, place], step)
        return rows[:, :, len(self._drawn) :]
