"""A U-Net with everything that it is asked under: text, guidance, control, scheduler."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stillmotion.adapters.adapter import Adapter, FrameContext
from stillmotion.adapters.compiled_blocks import CompiledBlocks
from stillmotion.adapters.diffusers_sites import MotionBypass
from stillmotion.adapters.feature_reuse import FeatureReuse
from stillmotion.adapters.lean_savings import Savings
from stillmotion.adapters.lean_text import TextRows
from stillmotion.animatezero.guide import FrameControl
from stillmotion.diffusion.guidance import classifier_free_guidance
from stillmotion.diffusion.speed import EXACT, EXACT_CALL, Call, SpeedSettings, call_plan
from stillmotion.runtime.compiling import Compiling


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
    savings: Savings = field(default_factory=Savings)
    compiling: Compiling | None = None
    """How the blocks of the U-Net are compiled, if they are."""
    one_text: bool = False
    """Whether all rows of a half read the same text."""
    speed: SpeedSettings = EXACT
    reuse: FeatureReuse | None = None
    """Of a run that uses deep features again, see `with_reuse`."""

    def with_reuse(self) -> Denoiser:
        """For one run: with a place for its deep features, if the speed uses them again.

        `reuse`, if there is one, is to be put on the U-Net behind all other adapters.
        """
        overwritten = self.compiling is not None and self.compiling.uses_graphs
        reuse = FeatureReuse(self.speed.kept_skips, copies=overwritten)
        return replace(self, reuse=reuse if self.speed.reuses else None)

    def lean(self, context: FrameContext, *, moves: bool = True) -> list[Adapter]:
        """The savings of a run whose rows lie as `context` says, behind all that controls it.

        `moves` is False if motion modules are bypassed.
        """
        text = TextRows(
            embeds=self.prompt_embeds, num_rows=context.num_rows, one_text=self.one_text
        )
        if self.compiling is None:
            return self.savings.adapters(context, text, moves=moves)
        # What is kept from call to call is no part of a graph: text is projected in it.
        return replace(self.savings, text=False).adapters(context, moves=moves)

    def still_adapters(self) -> list[Adapter]:
        """What makes of the U-Net the image model, for one still, with the savings of a run."""
        lean = self.lean(FrameContext(num_frames=1), moves=False)
        return self.compiled([MotionBypass(), *lean], "still")

    def compiled(self, adapters: Sequence[Adapter], form: Hashable) -> list[Adapter]:
        """`adapters`, and with `compiling` the blocks as these make them, compiled.

        `form` and the savings tell all that `adapters` do.
        """
        if self.compiling is None:
            return [*adapters]
        return [CompiledBlocks(self.compiling, adapters, (form, self.savings))]

    def calls(self, denoisings: Sequence[int]) -> list[Call]:
        """What each use of the network does in a run; `denoisings` as in `call_plan`."""
        return call_plan(self.speed, denoisings, guided=self.uses_guidance)

    def predict(
        self,
        z_t: Tensor,
        timestep: Tensor,
        reference: Tensor | None = None,
        call: Call = EXACT_CALL,
    ) -> Tensor:
        """The guided prediction for `z_t` (1 c f h w); `reference` (1 c k h w) runs beside it.

        With a `call` that is not guided, the conditional one.
        """
        rows = z_t if reference is None else torch.cat([reference, z_t], dim=2)
        rows = self.scheduler.scale_model_input(rows, timestep)
        halves = range(1 + int(self.uses_guidance))
        asked = halves if call.guided else halves[-1:]
        groups = [asked[n : n + 1] for n in range(len(asked))]
        groups = groups if self.sequential_guidance else [asked]
        predictions = [self._of(halves, rows, timestep, call.reuses) for halves in groups]
        prediction = torch.cat(predictions)[:, :, -z_t.shape[2] :]
        if len(asked) == 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return classifier_free_guidance(unconditional, conditional, self.guidance_scale)

    def step(self, prediction: Tensor, timestep: Tensor, z_t: Tensor) -> Tensor:
        """The scheduler's step from `z_t` to z_{t−1}."""
        result: Tensor = self.scheduler.step(
            prediction, timestep, z_t, **self.step_options, return_dict=False
        )[0]
        return result

    def _of(self, halves: range, rows: Tensor, timestep: Tensor, reuses: bool) -> Tensor:
        """The network's predictions for some halves of guidance, in one batch."""
        text, *images = (self._part(x, halves) for x in (self.prompt_embeds, *self.image_embeds))
        if self.reuse is None:
            return self._call(rows, timestep, text, images)
        with self.reuse.call(halves, reuses=reuses):
            return self._call(rows, timestep, text, images)

    def _part(self, embeds: Tensor, halves: range) -> Tensor:
        """The rows of some halves out of ((g ...) ...)."""
        size = len(embeds) // (1 + int(self.uses_guidance))
        return embeds[halves.start * size : halves.stop * size]

    def _call(self, rows: Tensor, timestep: Tensor, text: Tensor, images: list[Tensor]) -> Tensor:
        """The network on as many copies of `rows` (1 c r h w) as `text` has halves."""
        copies = rows.expand(text.shape[0] // rows.shape[2], *rows.shape[1:])
        extras: dict[str, Any] = {}
        if images:
            extras["added_cond_kwargs"] = {"image_embeds": images}
        if self.control is not None:
            control = partial(self.control.residuals, copies, timestep, text)
            extras |= control() if self.reuse is None else self.reuse.residuals(control)
        prediction: Tensor = self.unet(
            copies, timestep, encoder_hidden_states=text, return_dict=False, **extras
        )[0]
        return prediction
