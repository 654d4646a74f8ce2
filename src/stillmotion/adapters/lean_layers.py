"""Single layers of diffusers' networks with fewer passes over memory, the same up to rounding.

The lean forwards of whole blocks (`lean_resnet.py`, `lean_transformer.py`, `lean_motion.py`) are
made of these.  Pictures lie channels last in memory, so that (n c h w) and the tokens (n (h w) c)
are views of each other and nothing is ever laid out anew.

Convolutions and projections are called as modules: LoRAs, offloading and 8-bit storage, which all
wrap them, keep working.  Norms are read directly, unless somebody wrapped them too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.kernels.choice import is_fused
from stillmotion.kernels.norms import add_layer_norm, group_norm_silu
from stillmotion.kernels.pointwise import geglu

Forward = Callable[..., Any]


class LeanForward(partial[Any]):
    """A lean forward that an adapter gave a module; its first arguments are bound."""


def is_bare(module: nn.Module) -> bool:
    """Whether calling `module` does what its class says: no hooks, no other forward."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return "forward" not in vars(module) and not any(hooks)


def is_bare_or_lean(module: nn.Module) -> bool:
    """Whether nobody but the lean adapters replaced the forward of a module without hooks."""
    return isinstance(vars(module).get("forward"), LeanForward) or is_bare(module)


def has_no_listeners(block: nn.Module) -> bool:
    """Whether neither a block that is to be computed as a whole nor a layer of it has hooks."""
    return not any(m._forward_hooks or m._forward_pre_hooks for m in block.modules())


def is_untouched(block: nn.Module) -> bool:
    """Whether nobody listens to a block or replaced its forward.

    Other forwards of its layers do not count, since layers are called.
    """
    return is_bare(block) and has_no_listeners(block)


def drops_nothing(block: nn.Module) -> bool:
    """Whether no dropout within `block` is at work."""
    return not any(isinstance(m, nn.Dropout) and m.p > 0 and m.training for m in block.modules())


def tokens_of(x: Tensor) -> Tensor:
    """(n c h w) -> (n (h w) c): a view if `x` lies channels last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def image_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """(n (h w) c) -> (n c h w), a view that lies channels last."""
    picture: Tensor = tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return picture


def in_order_of_channels(picture: Tensor, like: Tensor) -> Tensor:
    """A picture that lies channels last, or a copy channels first if `like` lies so."""
    is_last = like.is_contiguous(memory_format=torch.channels_last)
    return picture if is_last else picture.contiguous()


def group_norm(norm: Any, x: Tensor, add: Tensor | None = None, *, silu: bool) -> Tensor:
    """GroupNorm of x + add, then SiLU if wanted: (n c *s) -> (n c *s); `add` (n c) or (1 c)."""
    if type(norm) is nn.GroupNorm and is_bare(norm) and norm.affine:
        return group_norm_silu(
            x, norm.num_groups, norm.weight, norm.bias, norm.eps, add=add, silu=silu
        )
    total = x if add is None else x + add.view(*add.shape, *[1] * (x.ndim - 2))
    normed: Tensor = norm(total)
    return functional.silu(normed) if silu else normed


def add_norm(norm: Any, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """The sum x + residual and its LayerNorm, both (... c)."""
    if type(norm) is nn.LayerNorm and is_bare(norm) and norm.bias is not None:
        return add_layer_norm(x, residual, norm.weight, norm.bias, norm.eps)
    total = x + residual
    return total, norm(total)


class FusedGEGLU(Adapter):
    """GEGLU of every feed-forward layer in one pass over the hidden activations, not two."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, m in model.named_modules() if type(m) is GEGLU and is_bare(m))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            layer = model.get_submodule(name)
            shadow(layer, "forward", LeanForward(_geglu, layer), undo)


def _geglu(layer: Any, hidden_states: Tensor) -> Tensor:
    return geglu(layer.proj(hidden_states))


class ChannelsLast(Adapter):
    """Lets the network compute channels last, from its first convolution on.

    The weights of convolutions are laid out likewise for as long: the same numbers in the same
    tensors, which otherwise would be laid out anew at every call.  Only where norms keep that
    order, on a CPU and with the fused kernels: CUDA's own GroupNorm lays everything out anew.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, _ in self._convolutions(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name, conv in self._convolutions(model):
            weight: Any = conv.weight
            if not weight.is_contiguous(memory_format=torch.channels_last):
                undo.callback(_lay_out, weight, torch.contiguous_format)
                _lay_out(weight, torch.channels_last)
            if name == "conv_in":
                shadow(conv, "forward", LeanForward(_channels_last, conv.forward), undo)

    @staticmethod
    def _convolutions(model: nn.Module) -> list[tuple[str, nn.Conv2d]]:
        """Those whose weights stay where they are; with hooks they may come and go."""
        convs = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
        if not convs or not is_bare(model):
            return []
        weight = convs[0][1].weight.data
        keeps_order = weight.device.type == "cpu" or is_fused(weight)
        return [(name, conv) for name, conv in convs if keeps_order and is_bare(conv)]


def _lay_out(weight: nn.Parameter, memory_format: torch.memory_format) -> None:
    weight.data = weight.data.contiguous(memory_format=memory_format)


def _channels_last(forward: Forward, x: Tensor) -> Any:
    return forward(x.contiguous(memory_format=torch.channels_last))
