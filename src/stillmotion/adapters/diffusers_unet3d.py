"""Everything this package knows about the inside of diffusers' UNet3DConditionModel.

Pinned by tests/contracts/test_diffusers_unet3d.py: when an upgrade of diffusers moves something,
that test fails and this file is the one to mend.  The facts:

* Spatial transformers (`attentions`) read the text in attn2; temporal ones (`temp_attentions`,
  `transformer_in`) attend to frames in attn1 and attn2 and never read it.  Spatial layers see
  ((b f) n c), frames fastest; the network repeats the text for every frame.
* `cross_attention_kwargs` reach every attention, temporal ones too, but a processor is given only
  the names that its `__call__` declares.  For `ip_hidden_states` the others are quiet about it.
* Temporal attentions and attn1 have diffusers' own processor, which does not declare that name.
* A processor that is a module belongs to the network: its weights are named
  `...attn2.processor.*` in the state dict, and from_pretrained fills them.
* attn2 is the plain attention: no norms, residual, scaling or mask of its own.
* `timestep_cond` goes unchanged to `time_embedding` as its second argument, which a plain
  `TimestepEmbedding` would add before its first layer.  `time_proj` puts cosines first.
* Modules are registered in the order down, up, mid; they run in the order down, mid, up.
* `enable_gradient_checkpointing` is refused, and only the spatial transformers would obey it.
* The constructor is wrapped by register_to_config, which would write all parameters of this class
  into the configuration of a subclass; the plain one is its `__wrapped__`.
* A configuration entry hides a submodule of the same name.
* `attention_head_dim` is the size of a head of all attentions, temporal ones too, and there is no
  number of heads; attentions read theirs from `heads` and `scale` when they run.
* Temporal layers are `temp_convs`, `temp_attentions` and `transformer_in`.  Each adds to what it
  gets; a fresh convolution adds zero, a fresh transformer does not.
* The other layers are the image model's (UNet2DConditionModel of Stable Diffusion's structure), by
  name and function; the projections around its spatial transformers may be convolutions by 1x1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

from stillmotion.errors import ModelError

Checkpoint = Callable[..., Any]

CONTEXT_KEY = "ip_hidden_states"
"""The name under which a cross-attention processor may receive what it needs."""

_RECOMPUTED_LAYERS = (ResnetBlock2D, TemporalConvLayer, TransformerTemporalModel)
_ORDER = ("down_blocks.", "mid_block.", "up_blocks.")
_TEMPORAL = frozenset({"temp_convs", "temp_attentions", "transformer_in"})


def construct(unet: Any, **config: Any) -> None:
    """Run the constructor of UNet3DConditionModel on `unet`, a subclass's, without its config."""
    UNet3DConditionModel.__init__.__wrapped__(unet, **config)


def spatial_cross_attentions(unet: nn.Module) -> dict[str, Any]:
    """attn2 of every spatial transformer block by name, in the order in which they run.

    16 in the released networks: 6 in the encoder, 1 in the middle, 9 in the decoder.
    """
    sites = {
        name: module
        for name, module in unet.named_modules()
        if ".attentions." in name and name.endswith(".attn2")
    }
    blocks = [{n: m for n, m in sites.items() if n.startswith(block)} for block in _ORDER]
    return {name: module for block in blocks for name, module in block.items()}


def set_spatial_heads(unet: nn.Module, heads: int) -> None:
    """Give every attention of the spatial transformers so many heads, at every level.

    Weights do not depend on it, so it is no part of a state dict.  Raises ModelError for a number
    that does not divide the channels of each.
    """
    for name, module in unet.named_modules():
        if ".attentions." in name and name.endswith((".attn1", ".attn2")):
            site: Any = module
            channels = site.to_q.out_features
            if heads < 1 or channels % heads:
                raise ModelError(
                    f"{channels} channels cannot have {heads} attention heads of the same size; "
                    "spatial_heads must divide the width of every level."
                )
            site.heads = site.sliceable_head_dim = heads
            site.scale = (channels // heads) ** -0.5


def is_temporal_parameter(name: str) -> bool:
    """Whether a name in a state dict belongs to a layer that mixes frames."""
    return not _TEMPORAL.isdisjoint(name.split("."))


def silence_temporal_layers(unet: nn.Module) -> None:
    """Let every temporal layer add zero until it is trained: frames do not know of each other."""
    for layer in unet.modules():
        last: Any = None
        if isinstance(layer, TransformerTemporalModel):
            last = layer.proj_out
        elif isinstance(layer, TemporalConvLayer):
            last = layer.conv4[-1]
        if last is not None:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)


class SummedTimestepEmbedding(TimestepEmbedding):  # type: ignore[misc]
    """The embedding of the timestep, to which another embedding is added afterwards.

    The weights have the names of the plain module, so its checkpoints fit.
    """

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        """`sample` (b c), the sinusoid, and `condition` (b e) -> (b e)."""
        embedded: Tensor = super().forward(sample)
        return embedded if condition is None else embedded + condition


def checkpoint_layers(unet: nn.Module, checkpoint: Checkpoint | None) -> None:
    """Let layers forget their activations and recompute them in the backward pass.

    These are the ResNets, temporal convolutions and temporal transformers; the spatial
    transformers do so by themselves.  `checkpoint` is called with a function and its arguments,
    as `torch.utils.checkpoint.checkpoint` is; None puts the layers back.
    """
    for layer in unet.modules():
        if isinstance(layer, _RECOMPUTED_LAYERS):
            own = vars(layer).get("forward")
            if isinstance(own, partial) and own.func is _recomputed:
                del vars(layer)["forward"]
            if checkpoint is not None:
                # A partial of a bound method: a deep copy of the network gets its own layer.
                vars(layer)["forward"] = partial(_recomputed, layer.forward, checkpoint)


def _recomputed(
    forward: Callable[..., Any], checkpoint: Checkpoint, *args: Any, **kwargs: Any
) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(partial(forward, **kwargs), *args)
