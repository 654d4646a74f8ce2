"""The norms of AnimateDiff v1: statistics over all frames of a video in the image layers."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, FrameContext, shadow

_SITE = re.compile(r"\.resnets\.\d+\.norm[12]$|^conv_norm_out$")


class AcrossFramesResnetNorm(Adapter):
    """Lets the GroupNorms of the ResNets and of the output run over (c/g f h w), as v1 was trained.

    The published code calls this `use_inflated_groupnorm: false` (configs/inference/
    inference-v1.yaml of AnimateDiff); diffusers normalises each frame by itself, which is right
    for v2 and v3.  Norms of attentions are per frame in every version.  Reference rows stand
    apart: each is normalised by itself.
    """

    def __init__(self, context: FrameContext) -> None:
        self._context = context

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, _ in model.named_modules() if _SITE.search(name))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            norm = model.get_submodule(name)
            shadow(norm, "forward", self._across(norm.forward), undo)

    def _across(self, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        num_reference_rows = self._context.num_reference_rows

        def normalise(x: Tensor) -> Tensor:
            rows = self._context.unfold(x)  # b rows c h w
            reference, frames = rows.tensor_split((num_reference_rows,), dim=1)
            together = forward(frames.transpose(1, 2)).transpose(1, 2)
            if num_reference_rows == 0:
                return together.flatten(0, 1)
            alone = forward(reference.flatten(0, 1)).view_as(reference)
            return torch.cat([alone, together], dim=1).flatten(0, 1)

        return normalise
