"""A U-Net with everything that it is asked under: text, guidance, control, scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillmotion.animatezero.guide import FrameControl
from stillmotion.diffusion.guidance import classifier_free_guidance


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """A U-Net with its prompt and scheduler.

    `scheduler` has its timesteps set and belongs to this run alone.  `prompt_embeds` ((g r) n d)
    has a row for each of the r rows of the U-Net's batch; g = 2 halves, unconditional first, if
    `uses_guidance`, else 1.
    """

    unet: Any
    scheduler: Any
    prompt_embeds: Tensor
    guidance_scale: float
    uses_guidance: bool
    step_options: Mapping[str, Any]
    control: FrameControl | None = None
    """Residuals of a ControlNet for every frame."""
    image_embeds: tuple[Tensor, ...] = ()
    """Of an IP-Adapter, (g ...) each."""
    sequential_guidance: bool = False
    """The halves one after the other: half the memory, the same but for rounding."""

    def predict(self, z_t: Tensor, timestep: Tensor, reference: Tensor | None = None) -> Tensor:
        """The guided prediction for `z_t` (1 c f h w); `reference` (1 c k h w) runs beside it."""
        rows = z_t if reference is None else torch.cat([reference, z_t], dim=2)
        rows = self.scheduler.scale_model_input(rows, timestep)
        halves = 1 + int(self.uses_guidance)
        parts = halves if self.sequential_guidance else 1
        embeds = zip(
            self.prompt_embeds.chunk(parts),
            *(images.chunk(parts) for images in self.image_embeds),
            strict=True,
        )
        predictions = [self._call(rows, timestep, text, images) for text, *images in embeds]
        prediction = torch.cat(predictions)[:, :, -z_t.shape[2] :]
        if not self.uses_guidance:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return classifier_free_guidance(unconditional, conditional, self.guidance_scale)

    def step(self, prediction: Tensor, timestep: Tensor, z_t: Tensor) -> Tensor:
        """The scheduler's step from `z_t` to z_{t−1}."""
        result: Tensor = self.scheduler.step(
            prediction, timestep, z_t, **self.step_options, return_dict=False
        )[0]
        return result

    def _call(self, rows: Tensor, timestep: Tensor, text: Tensor, images: list[Tensor]) -> Tensor:
        """The network on as many copies of `rows` (1 c r h w) as `text` has halves."""
        copies = rows.expand(text.shape[0] // rows.shape[2], *rows.shape[1:])
        extras: dict[str, Any] = {}
        if images:
            extras["added_cond_kwargs"] = {"image_embeds": images}
        if self.control is not None:
            extras |= self.control.residuals(copies, timestep, text)
        prediction: Tensor = self.unet(
            copies, timestep, encoder_hidden_states=text, return_dict=False, **extras
        )[0]
        return prediction
