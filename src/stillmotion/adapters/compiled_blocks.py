"""The repeated blocks of a U-Net compiled, each kind once: regional compilation.

A whole U-Net takes minutes to compile; its blocks repeat, so that a handful of graphs serves all
of them.  What other adapters have made of a block is compiled with it.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.runtime.compiling import Compiling

_BLOCKS = (ResnetBlock2D, Transformer2DModel, AnimateDiffTransformer3D)
# Blocks of one kind share their code, and torch counts graphs by code: all widths and sizes of a
# U-Net, more than the eight that it expects.
_MOST_GRAPHS = 256


class CompiledBlocks(Adapter):
    """Compiles ResNet blocks, spatial transformers and motion modules; put it on last of all.

    The first call within an `adapted` block compiles, which takes long; the others only run what it
    made.  The next block begins anew, since other adapters are part of what is compiled; inductor
    then finds its kernels in its cache.
    """

    def __init__(self, compiling: Compiling) -> None:
        self._compiling = compiling

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, part in model.named_modules() if isinstance(part, _BLOCKS))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        import torch._dynamo.config as limits  # heavy: only where something is compiled

        undo.enter_context(
            limits.patch(recompile_limit=_MOST_GRAPHS, accumulated_recompile_limit=8 * _MOST_GRAPHS)
        )
        options = self._compiling.options()
        for name in self.sites(model):
            block = model.get_submodule(name)
            shadow(block, "forward", torch.compile(block.forward, **options), undo)
