"""Queries, keys and values of self-attentions in one product, so that tokens are read once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.diffusers_sites import (
    JOINT_PROJECTION,
    is_motion_parameter,
    is_plain_attention,
)
from stillmotion.adapters.lean_frames import FrameAttentionProcessor
from stillmotion.adapters.lean_layers import is_bare

_PARTS = ("to_q", "to_k", "to_v")


class JointProjections(Adapter):
    """Lets the three projections of self-attentions lie behind each other in memory.

    The weights become views of one tensor, and lie apart again afterwards; so nothing is held
    twice, and what is added to a weight in place counts.  Attentions whose projections are wrapped
    (by LoRAs, offloading or 8-bit storage) or have biases stay as they are, and so do those that
    somebody else computes.  Put it on after adapters that replace attentions, before
    `LeanTransformers`.
    """

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        if not is_bare(model):
            return ()
        return tuple(name for name, m in model.named_modules() if _can_be_joint(name, m))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            attention: Any = model.get_submodule(name)
            weights = [getattr(attention, part).weight for part in _PARTS]
            joint = torch.cat([weight.data for weight in weights])
            for weight, part in zip(weights, joint.chunk(3), strict=True):
                undo.callback(_apart, weight)
                weight.data = part
            shadow(attention, JOINT_PROJECTION, JointProjection(), undo).hold(joint, undo)


class JointProjection:
    """The product by a joint weight, as long as it holds one."""

    def __init__(self) -> None:
        self._weight: Tensor | None = None

    def hold(self, weight: Tensor, undo: ExitStack) -> None:
        """Multiply by `weight` until `undo`."""
        self._weight = weight
        undo.callback(self._let_go)

    def _let_go(self) -> None:
        self._weight = None

    def __call__(self, x: Tensor) -> Tensor:
        assert self._weight is not None
        return functional.linear(x, self._weight)


def _can_be_joint(name: str, module: Any) -> bool:
    if type(module) is not Attention or module.is_cross_attention:
        return False
    known = FrameAttentionProcessor if is_motion_parameter(name) else AttnProcessor2_0
    is_known = type(module.processor) is known
    layers = [getattr(module, part) for part in _PARTS]
    return (
        is_known
        and is_plain_attention(module)
        and all(type(layer) is nn.Linear and is_bare(layer) for layer in layers)
        and all(layer.bias is None for layer in layers)
        and len({layer.weight.shape for layer in layers}) == 1
    )


def _apart(weight: nn.Parameter) -> None:
    weight.data = weight.data.clone()
