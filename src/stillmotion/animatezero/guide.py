"""A ControlNet beside AnimateZero (C.1): every frame follows a picture of its edges, depth, ..."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlGuide:
    """Maps for a ControlNet to follow.  Raises InputError if they cannot be used."""

    net: Any
    """diffusers' ControlNetModel, of the same family as the U-Net."""
    maps: NDArray[np.uint8]
    """RGB (f h w 3), one for each frame; to draw a still, the first counts."""
    scale: float = 1.0
    """How strictly they are followed; 0 is not at all."""
    start: float = 0.0
    """Share of the steps before which the control is off."""
    stop: float = 1.0
    """Share of the steps from which it is off again."""

    def __post_init__(self) -> None:
        if self.maps.dtype != np.uint8 or self.maps.ndim != 4 or self.maps.shape[3] != 3:
            raise InputError(
                f"The control maps have shape {self.maps.shape} and type {self.maps.dtype}; give "
                "uint8 pixels of shape (frames, height, width, 3)."
            )
        if not (0 <= self.start < self.stop <= 1):
            raise InputError(
                f"The control acts from {self.start} to {self.stop} of the steps; give shares "
                "with 0 <= start < stop <= 1."
            )
        if not (np.isfinite(self.scale) and self.scale >= 0):
            raise InputError(f"The control's scale is {self.scale}; give a number from 0 up.")

    def first(self) -> ControlGuide:
        """The control of the still alone."""
        return replace(self, maps=self.maps[:1])

    def check(self, num_frames: int, size: tuple[int, int]) -> None:
        """Raises InputError unless there is a map of `size` (h, w) for every frame."""
        if len(self.maps) < num_frames or self.maps.shape[1:3] != size:
            raise InputError(
                f"There are {len(self.maps)} control maps of {self.maps.shape[1]} x "
                f"{self.maps.shape[2]} pixels (height x width); {num_frames} of {size[0]} x "
                f"{size[1]} are needed."
            )


class FrameControl:
    """A guide made ready for a run of `num_steps` with the rows of one clip."""

    def __init__(self, guide: ControlGuide, rows: list[int], timesteps: Tensor) -> None:
        """`rows`: which frame's map each row of the U-Net's batch follows."""
        num_steps = len(timesteps)
        # diffusers' rule: a step counts only if all of it lies between start and stop.
        self._active = {
            int(timestep)
            for index, timestep in enumerate(timesteps)
            if index / num_steps >= guide.start and (index + 1) / num_steps <= guide.stop
        }
        self._net, self._scale = guide.net, guide.scale
        maps = torch.from_numpy(np.ascontiguousarray(guide.maps[rows]))
        self._maps = maps.permute(0, 3, 1, 2).to(guide.net.device, guide.net.dtype) / 255

    def residuals(self, z: Tensor, timestep: Tensor, text: Tensor) -> dict[str, Any]:
        """Arguments for the U-Net: what the ControlNet adds at `z` (g c r h w), text ((g r) n d).

        Empty while the control is off.
        """
        if int(timestep) not in self._active:
            return {}
        down, mid = self._net(
            z.transpose(1, 2).flatten(0, 1),
            timestep,
            encoder_hidden_states=text,
            controlnet_cond=self._maps.repeat(len(z), 1, 1, 1),
            conditioning_scale=self._scale,
            return_dict=False,
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
